//! The `layered-template` program: everything lives in the library.

fn main() -> ! {
    layered_template::cli::main()
}
