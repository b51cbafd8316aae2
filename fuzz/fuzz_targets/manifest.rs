#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| {
    layered_template::fuzz::manifest(data);
});
