//! What this machine's processor is quick at.

/// Whether products of 8-bit integers are quicker on it than those of 32-bit floating point numbers, with the kernels that ONNX
/// Runtime has: on x86-64 from AVX2 on (1.5 times as many texts a second there, 2.4 times with the dot products of AVX512-VNNI or
/// AVX-VNNI; benches/README.md). False on ARM, where it was not measured.
#[must_use]
pub fn is_quick_at_integers() -> bool {
    #[cfg(target_arch = "x86_64")]
    let is_quick = is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let is_quick = false;
    is_quick
}
