//! The program `synapsenet`; see [`synapsenet::cli`].

fn main() -> std::process::ExitCode {
    synapsenet::cli::main()
}
