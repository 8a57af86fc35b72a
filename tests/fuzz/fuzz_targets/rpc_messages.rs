//! Arbitrary bytes as each request of the API: refused, or a message that is the same after a round over the wire.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use synapsenet_proto::{Draft, rpc};

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = read::<rpc::PutRequest>(bytes) {
        request.draft.map(Draft::try_from);
    }
    if let Some(request) = read::<rpc::BulkPutRequest>(bytes) {
        if let Some(rpc::bulk_put_request::Item::Draft(draft)) = request.item {
            let _ = Draft::try_from(draft);
        }
    }
    read::<rpc::AddDocumentRequest>(bytes);
    read::<rpc::GetRequest>(bytes);
    read::<rpc::ListRequest>(bytes);
    read::<rpc::SearchRequest>(bytes);
    read::<rpc::RetractRequest>(bytes);
    read::<rpc::RetractMatchingRequest>(bytes);
    read::<rpc::ShareMatchingRequest>(bytes);
});

fn read<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    // By their bytes: a number that is none (NaN) is not equal to itself.
    let encoded = message.encode_to_vec();
    assert_eq!(M::decode(encoded.as_slice()).map(|again| again.encode_to_vec()), Ok(encoded));
    Some(message)
}
