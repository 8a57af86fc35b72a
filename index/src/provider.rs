//! What computes: the processor, or a device that the ONNX Runtime library knows.

use std::fmt;
use std::str::FromStr;

use crate::IndexError;

/// The most tokens of one run of a model on the processor, padding counted, unless a single window is longer. It bounds the
/// memory of a run. More did not fit a core's cache: of texts of all lengths, 512 tokens gave 15 % fewer a second than 256,
/// of short ones 2 % more (benches/README.md).
const CPU_RUN_TOKENS: usize = 256;
/// What a run on the processor costs beside its tokens, in tokens: the weights are read from memory once. Measured with the
/// built-in model on one thread: 2 ms, and 0.092 ms a token.
const CPU_RUN_COST: usize = 22;
/// The most tokens on a device, which computes thousands at once and is idle while it waits for the next run; for that
/// reason a run costs as much as a full one, so that there are few. On an H100, runs of 4,096, 16,384 and 65,536 tokens gave 9,500,
/// 11,000 and 10,300 short texts a second (benches/README.md).
const DEVICE_RUN_TOKENS: usize = 16_384;

/// How runs of a model are planned; see [`plan_batches`](crate::plan_batches).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// The most tokens of one run, padding counted, unless a single window is longer.
    pub max_tokens: usize,
    /// What a run costs beside its tokens, in tokens.
    pub cost: usize,
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// A graphics card of NVIDIA; needs a library that was built for it.
    Cuda,
    /// Apple's.
    CoreMl,
    /// Any graphics card under Windows.
    DirectMl,
}

impl Provider {
    /// All of them, by the names that people give them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Cuda, Self::CoreMl, Self::DirectMl];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
        }
    }

    /// How its runs are planned, with at most `max_tokens` in one; 0 leaves that to the provider.
    #[must_use]
    pub fn runs(self, max_tokens: usize) -> Runs {
        let (tokens, cost) = match self {
            Self::Cpu => (CPU_RUN_TOKENS, CPU_RUN_COST),
            Self::Cuda | Self::CoreMl | Self::DirectMl => (DEVICE_RUN_TOKENS, DEVICE_RUN_TOKENS),
        };
        Runs { max_tokens: if max_tokens == 0 { tokens } else { max_tokens }, cost }
    }

    /// What has to be done to have it.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Cpu => "every library has it",
            Self::Cuda => {
                "it needs an NVIDIA driver and the CUDA build of ONNX Runtime: run `deploy/provision --cuda` and name its \
                 library with ai.onnxruntime"
            }
            Self::CoreMl => "it needs macOS and a build of ONNX Runtime with CoreML",
            Self::DirectMl => "it needs Windows and a build of ONNX Runtime with DirectML",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = IndexError;

    fn from_str(name: &str) -> Result<Self, IndexError> {
        let known = Self::ALL.into_iter().find(|provider| provider.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            IndexError::BadOption(format!("there is no provider {name:?}; it is one of {names}"))
        })
    }
}

/// How a model is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    /// On what.
    pub provider: Provider,
    /// Which device of that kind, counted from 0.
    pub device: i32,
    /// Whether the processor does where `provider` cannot be had.
    pub fallback: bool,
    /// Threads that the processor computes with; 0 counts as 1.
    pub threads: usize,
    /// The most tokens of one run, padding counted, unless a single window is longer; 0 means what suits the provider.
    pub run_tokens: usize,
}
