//! The part of the door about tokens.

use std::time::Duration;

use synapsenet_proto::rpc;
use synapsenet_proto::rpc::access_service_server::AccessService;
use tonic::{Request, Response};

use super::status::status_of;
use super::{Api, Reply};
use crate::calls::CallError;
use crate::calls::access::{Key, Scope, Wanted};
use crate::calls::error::invalid;

#[tonic::async_trait]
impl AccessService for Api {
    async fn create_token(
        &self,
        request: Request<rpc::CreateTokenRequest>,
    ) -> Reply<rpc::CreateTokenResponse> {
        let call = self.begin(&request)?;
        let wanted = read_wanted(request.into_inner()).map_err(status_of)?;
        let (key, secret) = call.create_token(wanted).await.map_err(status_of)?;
        let api_fingerprint = call.api_fingerprint().to_owned();
        Ok(Response::new(rpc::CreateTokenResponse { token: Some(key_message(key)), secret, api_fingerprint }))
    }

    async fn list_tokens(&self, request: Request<rpc::ListTokensRequest>) -> Reply<rpc::ListTokensResponse> {
        let tokens = self.begin(&request)?.tokens().into_iter().map(key_message).collect();
        Ok(Response::new(rpc::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<rpc::RevokeTokenRequest>,
    ) -> Reply<rpc::RevokeTokenResponse> {
        let call = self.begin(&request)?;
        call.revoke_token(request.into_inner().name).await.map_err(status_of)?;
        Ok(Response::new(rpc::RevokeTokenResponse {}))
    }
}

fn read_wanted(request: rpc::CreateTokenRequest) -> Result<Wanted, CallError> {
    let scope = match request.scope() {
        rpc::TokenScope::Unspecified => {
            return Err(invalid("say what the token is for: read, write or admin"));
        }
        rpc::TokenScope::Read => Scope::Read,
        rpc::TokenScope::Write => Scope::Write,
        rpc::TokenScope::Admin => Scope::Admin,
    };
    let rpc::CreateTokenRequest { name, topics, expires_seconds, .. } = request;
    let expires = (expires_seconds > 0).then(|| Duration::from_secs(expires_seconds));
    Ok(Wanted { name, scope, topics, expires })
}

fn key_message(key: Key) -> rpc::AccessToken {
    let scope = match key.scope {
        Scope::Read => rpc::TokenScope::Read,
        Scope::Write => rpc::TokenScope::Write,
        Scope::Admin | Scope::Owner => rpc::TokenScope::Admin,
    };
    rpc::AccessToken {
        name: key.name,
        scope: scope.into(),
        topics: key.topics,
        created_ms: key.created_ms,
        expires_ms: key.expires_ms,
        last_used_ms: key.last_used_ms,
        revoked_ms: key.revoked_ms,
    }
}
