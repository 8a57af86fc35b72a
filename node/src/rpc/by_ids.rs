//! Withdrawing and sharing by ids, between the messages of the API and the values of the node.

use synapsenet_proto::rpc;

use crate::calls::error::invalid;
use crate::calls::{Call, CallError};

/// Withdraws the one that is named, or each of several.
///
/// # Errors
/// [`CallError`].
pub(super) async fn retract(
    call: &Call,
    id: String,
    ids: Vec<String>,
) -> Result<rpc::RetractResponse, CallError> {
    check(&id, &ids)?;
    if ids.is_empty() {
        let id = call.retract(id).await?.to_string();
        return Ok(rpc::RetractResponse { id, results: Vec::new() });
    }
    let results =
        call.retract_each(ids.clone()).await?.into_iter().zip(ids).map(|(result, id)| match result {
            Ok(retraction) => {
                rpc::RetractResult { id, retraction: retraction.to_string(), ..Default::default() }
            }
            Err(error) => {
                let (reason, refusal, hint) = refused(&error);
                rpc::RetractResult { id, retraction: String::new(), reason, refusal, hint }
            }
        });
    Ok(rpc::RetractResponse { id: String::new(), results: results.collect() })
}

/// Shares the one that is named, or each of several.
///
/// # Errors
/// [`CallError`].
pub(super) async fn share(
    call: &Call,
    id: String,
    ids: Vec<String>,
) -> Result<rpc::ShareResponse, CallError> {
    check(&id, &ids)?;
    if ids.is_empty() {
        let (id, changed) = call.share(id).await?;
        return Ok(rpc::ShareResponse { id: id.to_string(), changed, results: Vec::new() });
    }
    let results = call.share_each(ids.clone()).await?.into_iter().zip(ids).map(|(result, id)| match result {
        Ok(changed) => rpc::ShareResult { id, changed, ..Default::default() },
        Err(error) => {
            let (reason, refusal, hint) = refused(&error);
            rpc::ShareResult { id, changed: false, reason, refusal, hint }
        }
    });
    Ok(rpc::ShareResponse { results: results.collect(), ..Default::default() })
}

fn check(id: &str, ids: &[String]) -> Result<(), CallError> {
    match id.is_empty() || ids.is_empty() {
        true => Ok(()),
        false => Err(invalid("id and ids are both given: give one of them")),
    }
}

/// Why one was refused, for programs and for people, and what to do next.
fn refused(error: &CallError) -> (i32, String, String) {
    let reason = error.reason();
    let name = format!("ERROR_REASON_{}", reason.name());
    let number = rpc::ErrorReason::from_str_name(&name).unwrap_or_default();
    (number.into(), error.to_string(), reason.hint().to_owned())
}
