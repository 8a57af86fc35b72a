//! How much memory a graph takes once it is loaded, read off the graph before it is.
//!
//! Only the few fields of the ONNX protobuf that say so are declared (`onnx.proto3` of ONNX 1.14): prost passes over the
//! weights themselves.

use std::collections::HashSet;

use prost::Message;

/// Bytes of a value in f32, to which small ones are widened.
const F32_BYTES: u64 = 4;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
}

/// The bytes that the weights of an ONNX graph take in a session: those that are stored small and widened when the graph
/// is loaded count as f32.
///
/// # Errors
/// When `onnx` is no ONNX graph.
pub(crate) fn weight_bytes(onnx: &[u8]) -> Result<u64, prost::DecodeError> {
    let graph = ModelProto::decode(onnx)?.graph.unwrap_or_default();
    let widened: HashSet<&str> = graph
        .node
        .iter()
        .filter(|node| matches!(node.op_type.as_str(), "Cast" | "DequantizeLinear"))
        .filter_map(|node| node.input.first().map(String::as_str))
        .collect();
    let bytes_of = |tensor: &TensorProto| {
        let values = tensor.dims.iter().map(|&dim| u64::try_from(dim).unwrap_or(0));
        let values = values.fold(1u64, u64::saturating_mul);
        let bytes = value_bytes(tensor.data_type);
        let is_widened = widened.contains(tensor.name.as_str());
        values.saturating_mul(if is_widened { bytes.max(F32_BYTES) } else { bytes })
    };
    Ok(graph.initializer.iter().map(bytes_of).fold(0, u64::saturating_add))
}

/// The bytes of one value, by the numbers of `TensorProto.DataType`.
fn value_bytes(data_type: i32) -> u64 {
    match data_type {
        // (u)int8 and bool
        2 | 3 | 9 => 1,
        // (u)int16, float16, bfloat16
        4 | 5 | 10 | 16 => 2,
        // (u)int64, double
        7 | 11 | 13 => 8,
        _ => F32_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = weight_bytes(&bytes);
        }

        #[test]
        fn a_graph_cut_anywhere_or_with_a_byte_changed_never_panics(at in any::<prop::sample::Index>(), byte: u8) {
            let mut onnx = include_bytes!("../../tests/models/sines.onnx").to_vec();
            let at = at.index(onnx.len());
            let _ = weight_bytes(&onnx[..at]);
            onnx[at] = byte;
            let _ = weight_bytes(&onnx);
        }
    }

    #[test]
    fn weights_that_are_widened_count_as_what_they_become() {
        let tensor = |name: &str, dims: &[i64], data_type| TensorProto {
            dims: dims.to_vec(),
            data_type,
            name: name.to_owned(),
        };
        let node =
            |op: &str, input: &str| NodeProto { input: vec![input.to_owned()], op_type: op.to_owned() };
        let graph = GraphProto {
            node: vec![node("Cast", "matrix"), node("Gather", "table"), node("MatMulInteger", "small")],
            initializer: vec![
                tensor("matrix", &[10, 10], 3),
                tensor("table", &[100, 8], 3),
                tensor("small", &[5, 4], 3),
                tensor("bias", &[10], 1),
                tensor("shape", &[2], 7),
                tensor("scalar", &[], 1),
            ],
        };
        let onnx = ModelProto { graph: Some(graph) }.encode_to_vec();
        assert_eq!(weight_bytes(&onnx).unwrap(), 400 + 800 + 20 + 40 + 16 + 4);
        assert!(weight_bytes(b"no graph at all").is_err());
        // Nonsense costs nothing.
        let graph = GraphProto { node: Vec::new(), initializer: vec![tensor("huge", &[i64::MAX; 8], 1)] };
        assert_eq!(weight_bytes(&ModelProto { graph: Some(graph) }.encode_to_vec()).unwrap(), u64::MAX);
    }
}
