//! Peers. Clusters of several nodes are not built in this version: every call to one refuses and says so.

use super::TypeConfig;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftTypeConfig};

#[derive(Debug, thiserror::Error)]
#[error("node {0}: clusters of several nodes are not built in this version")]
struct NotBuilt(u64);

/// Makes peers that refuse.
pub(super) struct Network;

/// A peer that refuses.
pub(super) struct Peer(u64);

type Node = <TypeConfig as RaftTypeConfig>::Node;
type Refused<E = RaftError<u64>> = RPCError<u64, BasicNode, E>;

impl Peer {
    fn refuse<E: std::error::Error>(&self) -> RPCError<u64, BasicNode, E> {
        RPCError::Unreachable(Unreachable::new(&NotBuilt(self.0)))
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &Node) -> Peer {
        Peer(target)
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Refused> {
        Err(self.refuse())
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Refused<RaftError<u64, InstallSnapshotError>>> {
        Err(self.refuse())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, Refused> {
        Err(self.refuse())
    }
}
