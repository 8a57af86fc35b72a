//! The API's part about models.

use std::collections::HashMap;
use std::path::PathBuf;

use synapsenet_index::Model;
use synapsenet_proto::rpc::model_service_server::ModelService;
use synapsenet_proto::{ModelId, rpc};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::status::{invalid, status_of};
use super::{Api, PROGRESS_QUEUE, Reply, ReplyStream};
use crate::memory::spaces::Spaces;
use crate::models::{FetchProgress, Installed, Presence};

/// The longest name or path that a request may carry.
const MAX_NAME_BYTES: usize = 4096;

#[tonic::async_trait]
impl ModelService for Api {
    async fn list_models(&self, _: Request<rpc::ListModelsRequest>) -> Reply<rpc::ListModelsResponse> {
        let _permit = self.admit()?;
        let shown = self.shown().await?;
        let models = self.parts.models.installed();
        Ok(Response::new(rpc::ListModelsResponse {
            models: models.iter().map(|installed| shown.message(installed)).collect(),
        }))
    }

    async fn get_model(&self, request: Request<rpc::GetModelRequest>) -> Reply<rpc::GetModelResponse> {
        let _permit = self.admit()?;
        let model = self.model_message(&read_name(request.into_inner().name)?).await?;
        Ok(Response::new(rpc::GetModelResponse { model: Some(model) }))
    }

    async fn use_model(&self, request: Request<rpc::UseModelRequest>) -> Reply<rpc::UseModelResponse> {
        let _permit = self.admit()?;
        let name = read_name(request.into_inner().name)?;
        let switch = self.parts.switch.clone();
        // Whoever asks may hang up; what has begun is brought to its end.
        let switching = tokio::spawn({
            let name = name.clone();
            async move { switch.use_model(&name).await }
        });
        let switched = joined(switching.await)?.map_err(|error| status_of(error.into()))?;
        let model = Some(self.model_message(&name).await?);
        Ok(Response::new(rpc::UseModelResponse { model, changed: switched.changed }))
    }

    async fn add_model(&self, request: Request<rpc::AddModelRequest>) -> Reply<rpc::AddModelResponse> {
        let _permit = self.admit()?;
        let path = PathBuf::from(read_name(request.into_inner().path)?);
        if !path.is_absolute() {
            return Err(status_of(invalid(
                "path is not absolute: say where the folder is on the node's machine",
            )));
        }
        let models = self.parts.models.clone();
        let adding = tokio::spawn(async move { models.add(&path).await });
        let model = joined(adding.await)?.map_err(|error| status_of(error.into()))?;
        let model = Some(self.model_message(&model.full_name()).await?);
        Ok(Response::new(rpc::AddModelResponse { model }))
    }

    type FetchModelStream = ReplyStream<rpc::FetchModelResponse>;

    async fn fetch_model(&self, request: Request<rpc::FetchModelRequest>) -> Reply<Self::FetchModelStream> {
        let permit = self.admit()?;
        let name = read_name(request.into_inner().name)?;
        let (told, mut progress) = watch::channel(FetchProgress::default());
        let (sender, messages) = mpsc::channel(PROGRESS_QUEUE);
        let (api, hub) = (self.clone(), self.parts.hub.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let models = api.parts.models.clone();
            // A task of its own: what has come whole is registered, though nobody waits for it any more.
            let mut fetching = tokio::spawn(async move { models.fetch(&name, hub, told).await });
            let fetched = loop {
                tokio::select! {
                    fetched = &mut fetching => break joined(fetched),
                    () = api.parts.stopping.cancelled() => {
                        // What came so far stays.
                        let stopping = Status::unavailable("the node is stopping: fetch it again when it runs");
                        let _ = sender.send(Err(stopping)).await;
                        return;
                    }
                    // A client that hung up ends the fetch at its next step, when nobody listens to its progress.
                    () = sender.closed() => return,
                    Ok(()) = progress.changed() => {
                        let FetchProgress { file, fetched, total } = progress.borrow_and_update().clone();
                        let message = rpc::FetchModelResponse {
                            file, fetched_bytes: fetched, total_bytes: total, model: None,
                        };
                        // Whether it is still heard is seen above.
                        let _ = sender.send(Ok(message)).await;
                    }
                }
            };
            let last = match fetched {
                Ok(Ok(model)) => api.model_message(&model.full_name()).await,
                Ok(Err(error)) => Err(status_of(error.into())),
                Err(status) => Err(status),
            };
            let last = last.map(|model| rpc::FetchModelResponse { model: Some(model), ..Default::default() });
            // As above.
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn remove_model(
        &self,
        request: Request<rpc::RemoveModelRequest>,
    ) -> Reply<rpc::RemoveModelResponse> {
        let _permit = self.admit()?;
        let name = read_name(request.into_inner().name)?;
        let switch = self.parts.switch.clone();
        let removing = tokio::spawn(async move { switch.remove(&name).await });
        let dropped_vectors = joined(removing.await)?.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::RemoveModelResponse { dropped_vectors }))
    }

    async fn drop_vectors(
        &self,
        request: Request<rpc::DropVectorsRequest>,
    ) -> Reply<rpc::DropVectorsResponse> {
        let _permit = self.admit()?;
        let name = read_name(request.into_inner().name)?;
        let switch = self.parts.switch.clone();
        let dropping = tokio::spawn(async move { switch.drop_vectors(&name).await });
        let dropped_vectors = joined(dropping.await)?.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::DropVectorsResponse { dropped_vectors }))
    }
}

/// What a task answers; its panic is told in the log.
fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, Status> {
    result.map_err(|_| Status::internal("the node failed; its log says more"))
}

fn read_name(name: String) -> Result<String, Status> {
    match name.len() {
        0 => Err(status_of(invalid("no model is named"))),
        1..=MAX_NAME_BYTES => Ok(name),
        bytes => {
            Err(status_of(invalid(format!("the name has {bytes} bytes; at most {MAX_NAME_BYTES} are read"))))
        }
    }
}

/// What is to be said of models beside what is on disk.
struct Shown<'a> {
    api: &'a Api,
    spaces: std::sync::Arc<Spaces>,
    vectors: HashMap<ModelId, u64>,
}

impl Api {
    async fn shown(&self) -> Result<Shown<'_>, Status> {
        let vectors = self.read(|_, view| Ok(view.models()?)).await?.into_iter().collect();
        Ok(Shown { api: self, spaces: self.parts.memory.spaces(), vectors })
    }

    async fn model_message(&self, name: &str) -> Result<rpc::Model, Status> {
        let shown = self.shown().await?;
        let models = self.parts.models.installed();
        let found = models.iter().find(|installed| installed.name.eq_ignore_ascii_case(name));
        match found {
            Some(installed) => Ok(shown.message(installed)),
            // Says which there are.
            None => match self.parts.models.find(name) {
                Ok(model) => Ok(shown.message(&Installed { name: model.full_name(), model: Ok(model) })),
                Err(error) => Err(status_of(error.into())),
            },
        }
    }
}

impl Shown<'_> {
    fn message(&self, installed: &Installed) -> rpc::Model {
        let name = installed.name.clone();
        let model = match &installed.model {
            Ok(model) => model,
            Err(reason) => {
                let (state, role) = (rpc::ModelState::Broken.into(), rpc::ModelRole::None.into());
                return rpc::Model { name, state, role, reason: reason.clone(), ..Default::default() };
            }
        };
        let id = model.id();
        let missing = model.hub_files();
        let presence = self.api.parts.models.presence(id);
        let state = match presence {
            _ if !missing.is_empty() => rpc::ModelState::Fetchable,
            Presence::Absent => rpc::ModelState::Installed,
            Presence::Loading => rpc::ModelState::Loading,
            Presence::Loaded { .. } => rpc::ModelState::Loaded,
        };
        let role = match self.spaces.of(id) {
            Some(space) if space.id() == self.spaces.current.id() => rpc::ModelRole::InUse,
            Some(_) => rpc::ModelRole::Former,
            None => rpc::ModelRole::None,
        };
        let (provider, memory_bytes) = match presence {
            Presence::Loaded { provider, bytes } => (provider.to_string(), bytes),
            Presence::Absent | Presence::Loading => (String::new(), 0),
        };
        let sizes: Option<u64> = missing.iter().map(|file| file.bytes).sum();
        rpc::Model {
            state: state.into(),
            role: role.into(),
            vectors: self.vectors.get(&id).copied().unwrap_or(0),
            provider,
            memory_bytes,
            fetch_bytes: sizes.unwrap_or(0),
            ..described(name, model)
        }
    }
}

fn described(name: String, model: &Model) -> rpc::Model {
    rpc::Model {
        name,
        model_id: model.id().to_string(),
        dimension: model.dimension() as u32,
        max_tokens: model.max_tokens() as u32,
        pooling: model.pooling_name().to_owned(),
        question_prefix: model.question_prefix().to_owned(),
        document_prefix: model.document_prefix().to_owned(),
        license: model.license().to_owned(),
        built_in: model.is_built_in(),
        ..Default::default()
    }
}
