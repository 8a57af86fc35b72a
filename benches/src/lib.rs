//! What the benches share: whole nodes, texts, a client, order statistics and the files of the side-by-side runs.

pub mod member;
pub mod texts;

use std::path::{Path, PathBuf};

use anyhow::Context;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tonic::transport::{Channel, Endpoint, Uri};

/// The folder of the project.
#[must_use]
pub fn project_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches lies in the project").to_owned()
}

/// The sample notes that ship with the project: the text of each paragraph, some 20 to 60 words.
///
/// # Errors
/// When the notes cannot be read.
pub fn sample_texts() -> anyhow::Result<Vec<String>> {
    let dir = project_dir().join("deploy/sample-notes");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .collect::<Result<Vec<_>, _>>()?
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        // Each note is one line beneath its heading.
        let lines = text.lines().map(str::trim);
        texts.extend(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    anyhow::ensure!(!texts.is_empty(), "{} has no notes", dir.display());
    Ok(texts)
}

/// One text a line; empty lines are left out.
///
/// # Errors
/// When the file cannot be read.
pub fn texts_in(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Reads a JSON file of named sets of texts: `{"mid": ["...", ...], ...}`.
///
/// # Errors
/// When the file cannot be read or has no such set.
pub fn text_set(file: &Path, set: &str) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let sets: serde_json::Value = serde_json::from_str(&text)?;
    let texts = if set.is_empty() { &sets } else { &sets[set] };
    let texts = texts.as_array().with_context(|| format!("{} has no set {set:?}", file.display()))?;
    Ok(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
}

/// The value at `quantile` (0..1) of samples, which are sorted on the way.
#[must_use]
pub fn quantile(samples: &mut [f64], quantile: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    samples.get((last as f64 * quantile).round() as usize).copied().unwrap_or(f64::NAN)
}

/// A client of the node whose unix socket is `socket`.
///
/// # Errors
/// When nobody answers.
pub async fn connect(socket: PathBuf) -> anyhow::Result<NodeServiceClient<Channel>> {
    Ok(NodeServiceClient::new(channel(socket).await?))
}

/// A connection to the node whose unix socket is `socket`.
///
/// # Errors
/// When nobody answers.
pub async fn channel(socket: PathBuf) -> anyhow::Result<Channel> {
    // The address is not used: every connection goes to the socket.
    let endpoint = Endpoint::from_static("http://localhost");
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(socket).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// Command-line arguments of the form `--name value`.
#[derive(Debug)]
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Reads the arguments of this process; each name must be one of `known`.
    ///
    /// # Errors
    /// When a name is unknown or has no value; the message is `usage`.
    pub fn read(known: &[&str], usage: &str) -> anyhow::Result<Self> {
        let mut pairs = Vec::new();
        // `cargo bench` passes --bench on.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let name = name
                .strip_prefix("--")
                .filter(|name| known.contains(name))
                .context(usage.to_owned())?
                .to_owned();
            let value = arguments.next().context(usage.to_owned())?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of `name`, if it was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The number of `name`, or `default`.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn number(&self, name: &str, default: usize) -> anyhow::Result<usize> {
        self.get(name)
            .map_or(Ok(default), |text| text.parse().with_context(|| format!("--{name} takes a number")))
    }
}

/// A two-dimensional array of f32 as NumPy keeps it on disk.
#[derive(Debug)]
pub struct Matrix {
    /// Values of one row.
    pub columns: usize,
    /// All values, row after row.
    pub values: Vec<f32>,
}

impl Matrix {
    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns)
    }

    /// Reads a `.npy` file, version 1.0, little-endian f32, C order (NumPy's documentation, "NPY format").
    ///
    /// # Errors
    /// When the file cannot be read or is of another kind.
    pub fn read_npy(file: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let wrong = || format!("{} is no version 1 .npy file of f32 in C order", file.display());
        anyhow::ensure!(bytes.starts_with(b"\x93NUMPY\x01\x00") && bytes.len() > 10, wrong());
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(bytes.get(10..start).with_context(wrong)?).into_owned();
        anyhow::ensure!(header.contains("'<f4'") && header.contains("'fortran_order': False"), wrong());
        let shape =
            header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).with_context(wrong)?;
        let columns =
            shape.split(',').nth(1).and_then(|text| text.trim().parse().ok()).with_context(wrong)?;
        let values =
            bytes[start..].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Ok(Self { columns, values })
    }

    /// Writes a `.npy` file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_npy(&self, file: &Path) -> anyhow::Result<()> {
        let rows = self.values.len() / self.columns;
        let columns = self.columns;
        let mut header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
        // The data begins at a multiple of 64 bytes, and the header ends in a line break.
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
    }
}
