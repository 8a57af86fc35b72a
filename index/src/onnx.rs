//! Where the ONNX Runtime library is, and the one place that loads it.
//!
//! The library is loaded at run time, so that the program starts and explains itself without it, and so that another
//! build of it (for a graphics card) can be put in its place.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::Session;

use crate::environment::is_telemetry_off;
use crate::{Compute, IndexError, Provider};

/// The environment variable that names the library.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// What is being done while a session is made, for errors.
const LOADING: &str = "loading the model";

/// The one that is loaded: ONNX Runtime allows a single environment for the life of the process, so it is never dropped.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The loaded ONNX Runtime library. There is one a process; cloning shares it.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

impl Runtime {
    /// Loads the library at `library`, or gives the loaded one when it is the same. Nothing is ever sent anywhere: the
    /// process must have been started with [`TELEMETRY_OFF`](crate::TELEMETRY_OFF), as the library looks at that while it
    /// is loaded.
    ///
    /// # Errors
    /// [`IndexError::RuntimeMissing`] if there is no such file, [`IndexError::BadRuntime`] if it is no ONNX Runtime, too
    /// old, for another system, or not the one that this process has loaded before, [`IndexError::TelemetryOn`] without
    /// that variable.
    pub fn load(library: &Path) -> Result<Self, IndexError> {
        // Absolute, because a bare name would be looked up beside the executable and in the system's folders instead.
        let Ok(library) = library.canonicalize() else {
            return Err(IndexError::RuntimeMissing { looked: vec![library.to_owned()] });
        };
        let bad = |reason: String| IndexError::BadRuntime { library: library.clone(), reason };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            if runtime.library == library {
                return Ok(runtime.clone());
            }
            return Err(bad(format!("this process has already loaded {}", runtime.library.display())));
        }
        if !is_telemetry_off() {
            return Err(IndexError::TelemetryOn);
        }
        let environment = ort::init_from(&library)
            .map_err(|error| bad(error.to_string()))?
            .with_telemetry(false)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        let runtime = Self { environment, library };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library that was loaded, as an absolute path.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Makes a session of a graph on the provider that is asked for, and says on which one it runs.
    ///
    /// ONNX Runtime itself goes on with the processor when a provider cannot be had, and only logs it. So each is tried
    /// alone, and its failure is an error unless `compute.fallback` allows the processor.
    pub(crate) fn session(&self, onnx: &[u8], compute: &Compute) -> Result<(Session, Provider), IndexError> {
        let wanted = compute.provider;
        let error = match self.try_session(onnx, compute, wanted) {
            Ok(session) => return Ok((session, wanted)),
            Err(error) if wanted == Provider::Cpu => return Err(IndexError::onnx(LOADING)(error)),
            Err(error) => error,
        };
        if !compute.fallback {
            let remedy = wanted.remedy();
            return Err(IndexError::ProviderMissing { provider: wanted, remedy, source: error });
        }
        tracing::warn!(provider = %wanted, %error, "the provider cannot be had; the processor computes");
        let session = self.try_session(onnx, compute, Provider::Cpu).map_err(IndexError::onnx(LOADING))?;
        Ok((session, Provider::Cpu))
    }

    fn try_session(&self, onnx: &[u8], compute: &Compute, provider: Provider) -> ort::Result<Session> {
        // The runtime's own arena keeps what a run took for the next one: 5 to 10 % more short texts a second, and less memory
        // than the C library keeps, as runs are small. Its memory pattern is kept for each shape of input, of which texts
        // have thousands, and gained nothing.
        let processor = ep::CPU::default().with_arena_allocator(true).build();
        let device = match provider {
            Provider::Cpu => None,
            Provider::Cuda => Some(ep::CUDA::default().with_device_id(compute.device).build()),
            Provider::CoreMl => Some(ep::CoreML::default().build()),
            Provider::DirectMl => Some(ep::DirectML::default().with_device_id(compute.device).build()),
        };
        // Operators that a device lacks are computed by the processor.
        let providers = device.map(|device| device.error_on_failure()).into_iter().chain([processor]);
        let mut builder = Session::builder(&self.environment)?
            .with_memory_pattern(false)?
            .with_execution_providers(providers.collect::<Vec<_>>())?
            .with_intra_threads(compute.threads.max(1))?
            // Threads that spin while they wait for each other's part of a run end it sooner than threads that sleep; between runs
            // they would burn a core for nothing, so there they sleep.
            .with_intra_op_spinning(true)?
            .with_config_entry("session.force_spinning_stop", "1")?;
        builder.commit_from_memory(onnx)
    }
}

/// Finds the ONNX Runtime library: the `configured` path if there is one, else what the environment variable
/// `ORT_DYLIB_PATH` names, else the library beside this program or in `../lib` of it.
///
/// A path that somebody named is not passed over for another: when nothing is there, that is the error.
///
/// # Errors
/// [`IndexError::RuntimeMissing`] that lists where it looked.
pub fn find_runtime(configured: Option<&Path>) -> Result<PathBuf, IndexError> {
    let program = env::current_exe().ok();
    find_in(configured, env::var_os(LIBRARY_VARIABLE), program.as_deref())
}

fn find_in(
    configured: Option<&Path>,
    variable: Option<OsString>,
    program: Option<&Path>,
) -> Result<PathBuf, IndexError> {
    let named =
        configured.map(Path::to_owned).or(variable.filter(|path| !path.is_empty()).map(PathBuf::from));
    let looked = if let Some(path) = named {
        vec![path]
    } else {
        let name = format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
        let folder = program.and_then(Path::parent);
        folder.map(|folder| vec![folder.join(&name), folder.join("../lib").join(&name)]).unwrap_or_default()
    };
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(IndexError::RuntimeMissing { looked }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_configured_library_comes_before_the_variable_and_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}onnxruntime{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
        let file = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let (configured, variable) = (file("configured.so"), file("variable.so"));
        let program = folder.path().join("bin/synapsenet");
        let library = file(&format!("lib/{name}"));
        let found = find_in(Some(&configured), Some(variable.clone().into()), Some(&program));
        assert_eq!(found.unwrap(), configured);
        assert_eq!(find_in(None, Some(variable.clone().into()), Some(&program)).unwrap(), variable);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        let found = find_in(None, Some("".into()), Some(&program)).unwrap();
        assert_eq!(found.canonicalize().unwrap(), library.canonicalize().unwrap());
        let beside = file(&format!("bin/{name}"));
        assert_eq!(find_in(None, None, Some(&program)).unwrap(), beside);
    }

    #[test]
    fn a_missing_library_is_an_error_that_says_where_it_was_sought_and_what_to_do() {
        let error =
            find_in(None, None, Some(Path::new("/opt/nowhere/bin/synapsenet"))).unwrap_err().to_string();
        assert!(error.contains("/opt/nowhere/bin/") && error.contains("../lib"), "{error}");
        assert!(error.contains("deploy/provision") && error.contains(LIBRARY_VARIABLE), "{error}");
        let error = find_in(Some(Path::new("/opt/nowhere.so")), None, None).unwrap_err().to_string();
        assert!(error.contains("/opt/nowhere.so"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_onnx_runtime_is_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Runtime::load(&folder.path().join("none.so")),
            Err(IndexError::RuntimeMissing { .. })
        ));
        let text = folder.path().join("text.so");
        fs::write(&text, "not a library").unwrap();
        let error = Runtime::load(&text).err().expect("a text is no library").to_string();
        assert!(error.contains("text.so") && error.contains("deploy/provision"), "{error}");
    }
}
