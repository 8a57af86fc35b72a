//! Which scope each call needs, and whether it can be kept within topics: the one place where this is decided. A test holds the
//! table against the schema, so that no new call is forgotten.

use super::Scope;

/// Whether a call can be made by somebody who is limited to topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// Yes: it sees to it itself that nothing of other topics is told or changed.
    Topics,
    /// No: it is about everything that the node holds or does.
    All,
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// The least scope.
    pub scope: Scope,
    /// Whether topics can limit it.
    pub within: Within,
}

const fn need(scope: Scope, within: Within) -> Need {
    Need { scope, within }
}

/// Each call, as the schema names it. Forgetting is no writing: it drops what others said, and keeps it out. Checking every record
/// looks only, but takes the disk for minutes. A synchronisation is the mesh's own business and costs peers.
pub(crate) const LEAST: [(&str, Need); 59] = {
    use Scope::{Admin, Owner, Read, Write};
    use Within::{All, Topics};
    [
        ("NodeService/Put", need(Write, Topics)),
        ("NodeService/BulkPut", need(Write, Topics)),
        ("NodeService/Update", need(Write, Topics)),
        ("NodeService/GetDocument", need(Read, Topics)),
        ("NodeService/DeleteDocument", need(Write, Topics)),
        ("NodeService/ListDocuments", need(Read, Topics)),
        ("NodeService/Embed", need(Read, Topics)),
        ("NodeService/AddDocument", need(Write, Topics)),
        ("NodeService/AddLargeDocument", need(Write, Topics)),
        ("NodeService/WaitIndexed", need(Read, Topics)),
        ("NodeService/Get", need(Read, Topics)),
        ("NodeService/List", need(Read, Topics)),
        ("NodeService/Search", need(Read, Topics)),
        ("NodeService/SearchMany", need(Read, Topics)),
        ("NodeService/Count", need(Read, Topics)),
        ("NodeService/Share", need(Write, Topics)),
        ("NodeService/Pin", need(Write, Topics)),
        ("NodeService/Retract", need(Write, Topics)),
        ("NodeService/RetractMatching", need(Write, Topics)),
        ("NodeService/ShareMatching", need(Write, Topics)),
        ("NodeService/Forget", need(Admin, All)),
        ("NodeService/ListAuthors", need(Read, All)),
        ("NodeService/SetAuthorRule", need(Admin, All)),
        ("NodeService/ExplainEmergence", need(Read, All)),
        ("NodeService/TopEmergence", need(Read, All)),
        ("NodeService/EmergenceAuthors", need(Read, All)),
        ("NodeService/Digest", need(Read, All)),
        ("NodeService/Status", need(Read, Topics)),
        ("NodeService/Watch", need(Read, Topics)),
        ("NodeService/Verify", need(Admin, All)),
        ("NodeService/Compact", need(Admin, All)),
        ("NodeService/SetLogLevel", need(Admin, All)),
        ("NodeService/Backup", need(Owner, All)),
        ("MeshService/ListPeers", need(Read, All)),
        ("MeshService/AddPeer", need(Admin, All)),
        ("MeshService/RemovePeer", need(Admin, All)),
        ("MeshService/BanPeer", need(Admin, All)),
        ("MeshService/UnbanPeer", need(Admin, All)),
        ("MeshService/ListTopics", need(Read, Topics)),
        ("MeshService/JoinTopic", need(Admin, All)),
        ("MeshService/LeaveTopic", need(Admin, All)),
        ("MeshService/SetTopicPolicy", need(Admin, All)),
        ("MeshService/SyncNow", need(Admin, All)),
        ("MeshService/GetNetStatus", need(Read, All)),
        ("ModelService/ListModels", need(Read, All)),
        ("ModelService/GetModel", need(Read, All)),
        ("ModelService/UseModel", need(Admin, All)),
        ("ModelService/AddModel", need(Owner, All)),
        ("ModelService/FetchModel", need(Admin, All)),
        ("ModelService/RemoveModel", need(Admin, All)),
        ("ModelService/DropVectors", need(Admin, All)),
        ("SourceService/AddSource", need(Owner, All)),
        ("SourceService/ListSources", need(Read, Topics)),
        ("SourceService/SyncSource", need(Admin, All)),
        ("SourceService/PauseSource", need(Admin, All)),
        ("SourceService/RemoveSource", need(Admin, All)),
        ("AccessService/CreateToken", need(Owner, All)),
        ("AccessService/ListTokens", need(Admin, All)),
        ("AccessService/RevokeToken", need(Admin, All)),
    ]
};

/// What a call needs; one that is not in the table needs everything that there is over TCP.
pub(crate) fn need_of(method: &str) -> Need {
    let known = LEAST.iter().find(|(name, _)| *name == method);
    known.map_or(need(Scope::Admin, Within::All), |(_, need)| *need)
}

/// The name of a call of which it is recorded who made it: one that changes something.
pub(crate) fn recorded(method: &str) -> Option<&'static str> {
    let known = LEAST.iter().find(|(name, need)| *name == method && need.scope > Scope::Read);
    known.map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use synapsenet_proto::rpc;

    use super::*;

    #[test]
    fn each_call_of_the_schema_has_a_scope_and_nothing_else_has() {
        let descriptors = prost_types::FileDescriptorSet::decode(rpc::FILE_DESCRIPTOR_SET).unwrap();
        let services = descriptors.file.into_iter().flat_map(|file| file.service);
        let there: BTreeSet<String> = services
            .flat_map(|service| {
                let name = service.name.unwrap();
                service.method.into_iter().map(move |method| format!("{name}/{}", method.name.unwrap()))
            })
            .collect();
        let here: BTreeSet<String> = LEAST.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(here.len(), LEAST.len(), "each of them once");
        assert_eq!(here, there, "say in LEAST which scope a new call needs");
    }
}
