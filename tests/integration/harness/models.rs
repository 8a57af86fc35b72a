//! Models for tests, and what a client does with models.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use synapsenet_index::Model;
use synapsenet_proto::rpc;
use tonic::Status;

use super::{Client, wait_for, within};

/// The built-in variants of one space.
pub(crate) const VARIANTS: [&str; 2] = ["all-MiniLM-L6-v2-w8", "all-MiniLM-L6-v2-row8"];
/// The one of them that suits this machine, and is in use unless something else is said.
pub(crate) static BUILT_IN: LazyLock<String> = LazyLock::new(|| Model::built_in().unwrap().full_name());
/// A model of real size that the tests add: its prefix makes its space another than the built-in one.
pub(crate) const PASSAGES: &str = "passages-row8";
/// A tiny model of these tests: 16 components, so that a mix of it with another cannot even be computed.
pub(crate) const SINES: &str = "sines-tiny";

/// Writes the folder of the tiny model, or of another one with the same interface from `tests/models`.
pub(crate) fn tiny_model(dir: &Path, name: &str, graph: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let onnx = std::fs::read(tests.join("models").join(graph)).unwrap();
    let tokenizer = std::fs::read(tests.join("../index/models/all-MiniLM-L6-v2/tokenizer.json")).unwrap();
    let hash =
        |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let description = format!(
        "name = \"{name}\"\nvariant = \"tiny\"\ndimension = 16\nmax_tokens = 64\npooling = \"mean\"\nnormalize = true\n\
         question_prefix = \"\"\ndocument_prefix = \"\"\nlicense = \"Apache-2.0\"\n\
         [files.onnx]\npath = \"model.onnx\"\nsha256 = \"{}\"\n[files.tokenizer]\npath = \"tokenizer.json\"\nsha256 = \"{}\"\n",
        hash(&onnx),
        hash(&tokenizer),
    );
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.toml"), description).unwrap();
    std::fs::write(folder.join("model.onnx"), onnx).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    folder
}

/// Writes the folder of [`PASSAGES`].
pub(crate) fn passages_model(dir: &Path) -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../index/models");
    let folder = dir.join(PASSAGES);
    std::fs::create_dir_all(&folder).unwrap();
    for (from, to) in [
        ("all-MiniLM-L6-v2-row8/model.onnx", "model.onnx"),
        ("all-MiniLM-L6-v2/tokenizer.json", "tokenizer.json"),
        ("all-MiniLM-L6-v2/reference.json", "reference.json"),
    ] {
        std::os::unix::fs::symlink(built_in.join(from), folder.join(to)).unwrap();
    }
    let description = std::fs::read_to_string(built_in.join("all-MiniLM-L6-v2-row8/model.toml")).unwrap();
    let description = description
        .replace("name = \"all-MiniLM-L6-v2\"", "name = \"passages\"")
        .replace("question_prefix = \"\"", "question_prefix = \"passage: \"");
    std::fs::write(folder.join("model.toml"), description).unwrap();
    folder
}

impl Client {
    pub async fn try_use(&self, name: &str) -> Result<rpc::UseModelResponse, Status> {
        let request = rpc::UseModelRequest { name: name.into() };
        within("an answer to use", self.models.clone().use_model(request))
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn use_model(&self, name: &str) {
        let response = self.try_use(name).await.unwrap();
        assert!(response.changed);
        let model = response.model.unwrap();
        assert_eq!((model.name.as_str(), model.role()), (name, rpc::ModelRole::InUse));
    }

    pub async fn try_add_model(&self, path: &Path) -> Result<rpc::Model, Status> {
        let request = rpc::AddModelRequest { path: path.display().to_string() };
        let response = within("an answer to add", self.models.clone().add_model(request)).await?;
        Ok(response.into_inner().model.unwrap())
    }

    pub async fn model(&self, name: &str) -> rpc::Model {
        let request = rpc::GetModelRequest { name: name.into() };
        let response = within("a model", self.models.clone().get_model(request)).await.unwrap();
        response.into_inner().model.unwrap()
    }

    pub async fn drop_vectors(&self, name: &str) -> Result<u64, Status> {
        let request = rpc::DropVectorsRequest { name: name.into() };
        let response = within("an answer to drop", self.models.clone().drop_vectors(request)).await?;
        Ok(response.into_inner().dropped_vectors)
    }

    pub async fn to_embed_anew(&self) -> u64 {
        self.status().await.model.unwrap().to_embed_anew
    }

    pub async fn wait_embedded_anew(&self) {
        wait_for("every grain to be embedded anew", async || {
            let model = self.status().await.model.unwrap();
            model.to_embed_anew == 0 && model.former_models.is_empty()
        })
        .await;
    }
}
