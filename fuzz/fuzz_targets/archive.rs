#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    layered_template::fuzz::archive(data);
});
