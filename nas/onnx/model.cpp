#include "nas/onnx/model.h"

#include <bit>

#include "core/error.h"
#include "nas/onnx/protobuf.h"

namespace ladarts::onnx {

static_assert(std::endian::native == std::endian::little, "raw data of the format is little-endian");

namespace {

// Numbers of fields and kinds, from onnx.proto.
enum ModelField {
  kModelIr = 1,
  kProducer = 2,
  kProducerVersion = 3,
  kGraph = 7,
  kOpsetImport = 8,
  kMetadata = 14
};
enum GraphField { kNode = 1, kGraphName = 2, kInitializer = 5, kInput = 11, kOutput = 12, kValueInfo = 13 };
enum NodeField { kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kOpType = 4, kAttribute = 5 };
enum AttributeField { kAttributeName = 1, kReal = 2, kInteger = 3, kText = 4, kIntegers = 8, kKind = 20 };
enum AttributeKind { kKindFloat = 1, kKindInt = 2, kKindString = 3, kKindInts = 7 };
enum TensorField { kDims = 1, kDataType = 2, kTensorName = 8, kRawData = 9 };
enum DataType { kFloat = 1, kInt64 = 7 };

Message written(const Attribute& attribute) {
  Message m;
  m.text(kAttributeName, attribute.name);
  if (const auto* i = std::get_if<int64_t>(&attribute.value)) {
    m.integer(kInteger, *i);
    m.integer(kKind, kKindInt);
  } else if (const auto* f = std::get_if<float>(&attribute.value)) {
    m.real(kReal, *f);
    m.integer(kKind, kKindFloat);
  } else if (const auto* s = std::get_if<std::string>(&attribute.value)) {
    m.text(kText, *s);
    m.integer(kKind, kKindString);
  } else {
    for (int64_t each : std::get<std::vector<int64_t>>(attribute.value)) m.integer(kIntegers, each);
    m.integer(kKind, kKindInts);
  }
  return m;
}

Message written(const Node& node) {
  Message m;
  for (const std::string& name : node.inputs) m.text(kNodeInput, name);
  for (const std::string& name : node.outputs) m.text(kNodeOutput, name);
  m.text(kNodeName, node.name);
  m.text(kOpType, node.op_type);
  for (const Attribute& attribute : node.attributes) m.message(kAttribute, written(attribute));
  return m;
}

Message written(const Initializer& constant) {
  Message m;
  for (int64_t d : constant.dims) m.integer(kDims, d);
  m.integer(kDataType, constant.values.index() == 0 ? kFloat : kInt64);
  m.text(kTensorName, constant.name);
  std::visit([&]<class T>(const std::vector<T>& values) { m.data(kRawData, std::span<const T>(values)); },
             constant.values);
  return m;
}

// ValueInfoProto { name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 {...} } } } }
Message written(const ValueInfo& value) {
  Message shape;
  for (const auto& dim : value.dims) {
    Message d;
    if (const auto* size = std::get_if<int64_t>(&dim))
      d.integer(1, *size);
    else
      d.text(2, std::get<std::string>(dim));
    shape.message(1, d);
  }
  Message tensor, type, m;
  tensor.integer(1, kFloat);
  tensor.message(2, shape);
  type.message(1, tensor);
  m.text(1, value.name);
  m.message(2, type);
  return m;
}

Message written_graph(const Model& model) {
  Message graph;
  for (const Node& node : model.nodes) graph.message(kNode, written(node));
  graph.text(kGraphName, model.name);
  for (const Initializer& constant : model.constants) graph.message(kInitializer, written(constant));
  for (const ValueInfo& value : model.inputs) graph.message(kInput, written(value));
  for (const ValueInfo& value : model.outputs) graph.message(kOutput, written(value));
  for (const ValueInfo& value : model.intermediates) graph.message(kValueInfo, written(value));
  return graph;
}

}  // namespace

std::string serialise(const Model& model) {
  Message opset;  // the standard operators: no domain
  opset.text(1, "");
  opset.integer(2, kOpset);
  Message m;
  m.integer(kModelIr, kIrVersion);
  m.text(kProducer, "ladarts");
  m.text(kProducerVersion, model.producer_version);
  m.message(kGraph, written_graph(model));
  m.message(kOpsetImport, opset);
  for (const auto& [key, value] : model.metadata) {
    Message entry;
    entry.text(1, key);
    entry.text(2, value);
    m.message(kMetadata, entry);
  }
  require(m.bytes().size() <= size_t(INT32_MAX),
          "[onnx] the model takes {} bytes, the format allows 2 GiB: use fewer channels or layers",
          m.bytes().size());
  return m.bytes();
}

}  // namespace ladarts::onnx
