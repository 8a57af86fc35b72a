//! The part of the door about models.

use synapsenet_index::{Arithmetic, Model, Pooling};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::model_service_server::ModelService;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response};

use super::status::status_of;
use super::{Api, PROGRESS_QUEUE, Reply, ReplyStream};
use crate::calls::models::{FetchProgress, Installed, ModelState, Presence, Role};

#[tonic::async_trait]
impl ModelService for Api {
    async fn list_models(&self, request: Request<rpc::ListModelsRequest>) -> Reply<rpc::ListModelsResponse> {
        let models = self.begin(&request)?.models().await.map_err(status_of)?;
        Ok(Response::new(rpc::ListModelsResponse { models: models.into_iter().map(model_message).collect() }))
    }

    async fn get_model(&self, request: Request<rpc::GetModelRequest>) -> Reply<rpc::GetModelResponse> {
        let call = self.begin(&request)?;
        let model = call.model(&request.into_inner().name).await.map_err(status_of)?;
        Ok(Response::new(rpc::GetModelResponse { model: Some(model_message(model)) }))
    }

    async fn use_model(&self, request: Request<rpc::UseModelRequest>) -> Reply<rpc::UseModelResponse> {
        let call = self.begin(&request)?;
        let (model, changed, to_embed_anew) =
            call.use_model(&request.into_inner().name).await.map_err(status_of)?;
        Ok(Response::new(rpc::UseModelResponse { model: Some(model_message(model)), changed, to_embed_anew }))
    }

    async fn add_model(&self, request: Request<rpc::AddModelRequest>) -> Reply<rpc::AddModelResponse> {
        let call = self.begin(&request)?;
        let model = call.add_model(&request.into_inner().path).await.map_err(status_of)?;
        Ok(Response::new(rpc::AddModelResponse { model: Some(model_message(model)) }))
    }

    type FetchModelStream = ReplyStream<rpc::FetchModelResponse>;

    async fn fetch_model(&self, request: Request<rpc::FetchModelRequest>) -> Reply<Self::FetchModelStream> {
        let call = self.begin(&request)?;
        let name = request.into_inner().name;
        let (told, mut progress) = watch::channel(FetchProgress::default());
        let (sender, messages) = mpsc::channel(PROGRESS_QUEUE);
        tokio::spawn(async move {
            let fetching = call.fetch_model(&name, told);
            tokio::pin!(fetching);
            let last = loop {
                tokio::select! {
                    fetched = &mut fetching => break fetched,
                    // The fetch ends at its next step, when nobody listens to its progress.
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
            let message =
                |model| rpc::FetchModelResponse { model: Some(model_message(model)), ..Default::default() };
            // As above.
            let _ = sender.send(last.map(message).map_err(status_of)).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn remove_model(
        &self,
        request: Request<rpc::RemoveModelRequest>,
    ) -> Reply<rpc::RemoveModelResponse> {
        let call = self.begin(&request)?;
        let dropped_vectors = call.remove_model(&request.into_inner().name).await.map_err(status_of)?;
        Ok(Response::new(rpc::RemoveModelResponse { dropped_vectors }))
    }

    async fn drop_vectors(
        &self,
        request: Request<rpc::DropVectorsRequest>,
    ) -> Reply<rpc::DropVectorsResponse> {
        let call = self.begin(&request)?;
        let dropped_vectors = call.drop_vectors(&request.into_inner().name).await.map_err(status_of)?;
        Ok(Response::new(rpc::DropVectorsResponse { dropped_vectors }))
    }
}

fn model_message(state: ModelState) -> rpc::Model {
    let ModelState { installed: Installed { name, model }, presence, role, vectors } = state;
    let model = match model {
        Ok(model) => model,
        Err(reason) => {
            let (state, role) = (rpc::ModelState::Broken.into(), rpc::ModelRole::None.into());
            return rpc::Model { name, state, role, reason, ..Default::default() };
        }
    };
    let missing = model.hub_files();
    let state = match presence {
        _ if !missing.is_empty() => rpc::ModelState::Fetchable,
        Presence::Absent => rpc::ModelState::Installed,
        Presence::Loading => rpc::ModelState::Loading,
        Presence::Loaded { .. } => rpc::ModelState::Loaded,
    };
    let role = match role {
        Role::InUse => rpc::ModelRole::InUse,
        Role::Former => rpc::ModelRole::Former,
        Role::None => rpc::ModelRole::None,
    };
    let (provider, memory_bytes) = match presence {
        Presence::Loaded { provider, bytes } => (provider.to_string(), bytes),
        Presence::Absent | Presence::Loading => (String::new(), 0),
    };
    let sizes: Option<u64> = missing.iter().map(|file| file.bytes).sum();
    rpc::Model {
        state: state.into(),
        role: role.into(),
        vectors,
        provider,
        memory_bytes,
        fetch_bytes: sizes.unwrap_or(0),
        ..described(name, &model)
    }
}

fn pooling_message(model: &Model) -> rpc::Pooling {
    match model.pooling() {
        Pooling::Mean => rpc::Pooling::Mean,
        Pooling::Cls => rpc::Pooling::Cls,
    }
}

fn arithmetic_message(arithmetic: Arithmetic) -> rpc::Arithmetic {
    match arithmetic {
        Arithmetic::Float32 => rpc::Arithmetic::Float32,
        Arithmetic::Int8 => rpc::Arithmetic::Int8,
    }
}

fn described(name: String, model: &Model) -> rpc::Model {
    rpc::Model {
        name,
        space_id: model.id().to_string(),
        dimension: model.dimension() as u32,
        max_tokens: model.max_tokens() as u32,
        pooling: pooling_message(model).into(),
        question_prefix: model.question_prefix().to_owned(),
        document_prefix: model.document_prefix().to_owned(),
        license: model.license().to_owned(),
        built_in: model.is_built_in(),
        space: model.name().to_owned(),
        variant: model.variant().to_owned(),
        arithmetic: arithmetic_message(model.arithmetic()).into(),
        least_cosine: f64::from(model.least_cosine()),
        ..Default::default()
    }
}
