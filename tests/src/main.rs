//! The program `synapsenet`, built beside the tests that run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    synapsenet::cli::main()
}
