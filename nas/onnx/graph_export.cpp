#include "nas/onnx/graph_export.h"

#include <map>
#include <set>

#include "core/error.h"
#include "core/gradients.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/batch_norm.h"
#include "ops/channels.h"
#include "ops/conv2d.h"
#include "ops/factorized_reduce.h"
#include "ops/linear.h"
#include "ops/pool2d.h"
#include "ops/separable_conv.h"

namespace ladarts::onnx {

namespace {

using Ints = std::vector<int64_t>;
using Names = std::vector<std::string>;

Ints dims_of(const Shape& shape) {
  Ints dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

// The nodes that the output needs.
std::vector<uint8_t> needed_nodes(const Graph& graph, Tensor output) {
  std::vector<uint8_t> value(graph.values().size(), 0), node(graph.nodes().size(), 0);
  value[size_t(output.id())] = 1;
  for (size_t i = graph.nodes().size(); i-- > 0;) {
    const ladarts::Node& n = graph.nodes()[i];
    for (int out : n.outputs) node[i] |= value[size_t(out)];
    if (node[i])
      for (int in : n.inputs) value[size_t(in)] = 1;
  }
  return node;
}

class Exporter {
 public:
  Exporter(const Graph& graph, const GraphExport& options) : graph_(graph), options_(options) {}

  Model run() {
    name_value(options_.input.id(), options_.input_name);
    const std::vector<uint8_t> needed = needed_nodes(graph_, options_.output);
    for (size_t i = 0; i < graph_.nodes().size(); ++i)
      if (needed[i]) translate(graph_.nodes()[i]);
    model_.inputs = {info(options_.input.id())};
    model_.outputs = {info(options_.output.id())};
    return std::move(model_);
  }

 private:
  const Shape& shape_of(int value) const { return graph_.values()[size_t(value)].shape; }
  bool dynamic_batch() const { return !options_.batch_name.empty(); }

  // Names.

  std::string unique(std::string name) {
    while (!taken_.insert(name).second) name += '_';
    return name;
  }
  void name_value(int id, const std::string& name) { names_[id] = unique(name); }

  // The name under which nodes read a value; a leaf other than the input becomes a constant on its first use.
  std::string value(int id) {
    if (const auto known = names_.find(id); known != names_.end()) return known->second;
    const Value& v = graph_.values()[size_t(id)];
    LADARTS_CHECK(v.writers.empty() && v.storage);  // nodes come in order
    require(v.dtype == DType::f32, "[onnx] constant '{}' holds {}, only f32 is exported", v.label,
            to_string(v.dtype));
    name_value(id, v.label.empty() ? fmt::format("constant_{}", id) : v.label);
    model_.constants.push_back({names_[id], dims_of(v.shape), v.storage->to_vector()});
    return names_[id];
  }
  std::string input(const ladarts::Node& node, size_t i) { return value(node.inputs[i]); }

  ValueInfo info(int id) const {
    ValueInfo v{names_.at(id), {}};
    const Shape& shape = shape_of(id);
    for (int i = 0; i < shape.rank(); ++i) v.dims.emplace_back(shape[i]);
    if (dynamic_batch()) {
      require(shape.rank() > 0 && shape[0] == options_.input.dim(0),
              "[onnx] value '{}' of shape {} has no batch, so it cannot be left to the caller", v.name,
              shape.str());
      v.dims[0] = options_.batch_name;
    }
    return v;
  }

  // Nodes.

  // "cell3/edge2/conv2d_57": the same for the node and its result, or result `output`.
  void begin(const ladarts::Node& node, size_t output = 0) {
    const int id = node.outputs[output];
    require(graph_.values()[size_t(id)].writers.size() == 1 && node.updates.empty(),
            "[onnx] [{}] of a training step cannot be exported; record the network for inference",
            node.op->name());
    base_ = options_.output_name;
    if (id != options_.output.id())
      base_ = fmt::format("{}{}{}_{}", node.scope, node.scope.empty() ? "" : "/", node.op->name(), id);
  }
  // One node; its result, of name `output`, is returned.
  std::string emit(const std::string& op_type, const Names& inputs, std::vector<Attribute> attributes,
                   const std::string& output) {
    model_.nodes.push_back({op_type, output, inputs, {output}, std::move(attributes)});
    return output;
  }
  // One between others of the same op.
  std::string emit_inner(const std::string& op_type, const Names& inputs, std::vector<Attribute> attributes,
                         const std::string& part) {
    return emit(op_type, inputs, std::move(attributes), unique(base_ + "/" + part));
  }
  // The last one of an op, which makes its result, or result `output`.
  void emit_last(const ladarts::Node& node, const std::string& op_type, const Names& inputs,
                 std::vector<Attribute> attributes = {}, size_t output = 0) {
    const int id = node.outputs[output];
    name_value(id, base_);
    emit(op_type, inputs, std::move(attributes), names_[id]);
    if (id != options_.output.id()) model_.intermediates.push_back(info(id));
  }
  std::string constant(const std::string& part, Ints values) {
    const std::string name = unique(base_ + "/" + part);
    model_.constants.push_back({name, {int64_t(values.size())}, std::move(values)});
    return name;
  }

  // Several ops read a value's positive part; it is computed once.
  std::string relu_of(int id) {
    auto [known, is_new] = relus_.try_emplace(id);
    if (is_new) {
      const std::string x = value(id);
      known->second = emit("Relu", {x}, {}, unique(x + "/relu"));
    }
    return known->second;
  }

  // The first `parts` inputs as one value, or its positive part. The next op that reads the same parts finds
  // it.
  std::string joined(const ladarts::Node& node, int parts, bool positive) {
    if (parts == 1) return positive ? relu_of(node.inputs[0]) : input(node, 0);
    const std::vector<int> ids(node.inputs.begin(), node.inputs.begin() + parts);
    auto [whole, is_new] = joined_.try_emplace({ids, false});
    if (is_new) {
      Names inputs;
      for (const int id : ids) inputs.push_back(value(id));
      whole->second = emit_inner("Concat", inputs, {{"axis", int64_t{1}}}, "concat");
    }
    if (!positive) return whole->second;
    auto [rectified, is_first] = joined_.try_emplace({ids, true});
    if (is_first) rectified->second = emit("Relu", {whole->second}, {}, unique(whole->second + "/relu"));
    return rectified->second;
  }

  static std::vector<Attribute> window(Ints kernel, int64_t stride, Ints pads) {
    return {
        {"kernel_shape", std::move(kernel)}, {"strides", Ints{stride, stride}}, {"pads", std::move(pads)}};
  }
  std::vector<Attribute> convolution(const Shape& weight, int64_t stride, int64_t dilation, int64_t groups,
                                     Ints pads) {
    std::vector<Attribute> a = window({weight[2], weight[3]}, stride, std::move(pads));
    a.push_back({"dilations", Ints{dilation, dilation}});
    a.push_back({"group", groups});
    return a;
  }

  // Ops.

  void translate(const ladarts::Node& node);
  void conv2d(const Conv2d& op, const ladarts::Node& node);
  void separable_conv(const SeparableConvDesc& desc, const ladarts::Node& node);
  void factorized_reduce(const FactorizedReduce& op, const ladarts::Node& node);
  void pool(const Pool2d& op, const ladarts::Node& node);
  void global_pool(const ladarts::Node& node);
  void norm(const BatchNorm& op, const ladarts::Node& node);
  void sum(const ladarts::Node& node);
  void concat(const Concat& op, const ladarts::Node& node);
  void fill(float element, const ladarts::Node& node);
  void linear(const Linear& op, const ladarts::Node& node);

  const Graph& graph_;
  const GraphExport& options_;
  Model model_;
  std::map<int, std::string> names_, relus_;  // of values; of their positive parts
  std::map<std::pair<std::vector<int>, bool>, std::string>
      joined_;  // of values in parts; their positive parts
  std::set<std::string> taken_;
  std::string base_;  // of the names of the op that is being translated
};

void Exporter::translate(const ladarts::Node& node) {
  begin(node);
  const Op* op = node.op.get();
  if (const auto* o = dynamic_cast<const Conv2d*>(op)) return conv2d(*o, node);
  if (const auto* o = dynamic_cast<const SeparableConv*>(op)) return separable_conv(o->desc, node);
  if (const auto* o = dynamic_cast<const FactorizedReduce*>(op)) return factorized_reduce(*o, node);
  if (const auto* o = dynamic_cast<const Pool2d*>(op)) return pool(*o, node);
  if (dynamic_cast<const GlobalAvgPool*>(op)) return global_pool(node);
  if (const auto* o = dynamic_cast<const BatchNorm*>(op)) return norm(*o, node);
  if (dynamic_cast<const AddN*>(op)) return sum(node);
  if (const auto* o = dynamic_cast<const Concat*>(op)) return concat(*o, node);
  if (const auto* o = dynamic_cast<const Fill*>(op)) return fill(o->value, node);
  if (const auto* o = dynamic_cast<const Linear*>(op)) return linear(*o, node);
  if (const auto* o = dynamic_cast<const Binary*>(op); o && o->kind == BinaryKind::add) return sum(node);
  if (const auto* o = dynamic_cast<const ActivationOp*>(op); o && o->kind == Activation::relu)
    return emit_last(node, "Relu", {input(node, 0)});
  fail("[onnx] [{}] of '{}' cannot be exported: it is no op of inference", op->name(), node.scope);
}

void Exporter::conv2d(const Conv2d& op, const ladarts::Node& node) {
  const Conv2dDesc& d = op.desc;
  const int64_t pad = d.padding;
  const auto outputs = size_t(op.outputs);
  for (size_t i = 0; i < outputs; ++i) {
    const size_t weight = size_t(op.parts) + i, bias = weight + outputs;
    begin(node, i);
    Names inputs{joined(node, op.parts, d.relu_input), input(node, weight)};
    if (bias < node.inputs.size()) inputs.push_back(input(node, bias));
    emit_last(
        node, "Conv", inputs,
        convolution(shape_of(node.inputs[weight]), d.stride, d.dilation, d.groups, {pad, pad, pad, pad}), i);
  }
}

void Exporter::separable_conv(const SeparableConvDesc& d, const ladarts::Node& node) {
  const Shape &depthwise = shape_of(node.inputs[1]), &pointwise = shape_of(node.inputs[2]);
  const int64_t pad = d.dilation * (depthwise[2] - 1) / 2;
  const std::string spatial = emit_inner(
      "Conv", {relu_of(node.inputs[0]), input(node, 1)},
      convolution(depthwise, d.stride, d.dilation, depthwise[0], {pad, pad, pad, pad}), "depthwise");
  const Names mix{spatial, input(node, 2), input(node, 3)};
  const std::vector<Attribute> of_pixels = convolution(pointwise, 1, 1, 1, {0, 0, 0, 0});
  if (node.inputs.size() == 4) return emit_last(node, "Conv", mix, of_pixels);
  const std::string y = emit_inner("Conv", mix, of_pixels, "pointwise");
  emit_last(node, "Add", {y, input(node, 4)});
}

// Pixels at odd places are those at even ones of the image without its first row and column. An odd side
// lacks the last of them, for which a row of zeros is padded.
void Exporter::factorized_reduce(const FactorizedReduce& op, const ladarts::Node& node) {
  const auto weights = size_t(op.parts), biases = weights + 2;
  const Shape &x = shape_of(node.inputs[0]), &even = shape_of(node.inputs[weights]),
              &odd = shape_of(node.inputs[weights + 1]);
  require(op.pairs == 1, "[onnx] [factorized_reduce] of several pairs of weights cannot be exported");
  require(even[1] == op.parts * x[1], "[onnx] [factorized_reduce] of some channels cannot be exported");
  const bool biased = node.inputs.size() > biases;
  const std::string positive = joined(node, op.parts, true);
  Names first{positive, input(node, weights)};
  if (biased) first.push_back(input(node, biases));
  const std::string at_even = emit_inner("Conv", first, convolution(even, 2, 1, 1, {0, 0, 0, 0}), "even");
  const std::string shifted = emit_inner(
      "Slice",
      {positive, constant("starts", {1, 1}), constant("ends", {x[2], x[3]}), constant("axes", {2, 3})}, {},
      "shifted");
  Names second{shifted, input(node, weights + 1)};
  if (biased) second.push_back(input(node, biases + 1));
  const std::string at_odd =
      emit_inner("Conv", second, convolution(odd, 2, 1, 1, {0, 0, x[2] % 2, x[3] % 2}), "odd");
  emit_last(node, "Concat", {at_even, at_odd}, {{"axis", int64_t{1}}});
}

void Exporter::pool(const Pool2d& op, const ladarts::Node& node) {
  const Pool2dDesc& d = op.desc;
  require(d.channels == 0 || d.channels == shape_of(node.inputs[0])[1],
          "[onnx] [{}] of some channels cannot be exported", op.name());
  require(op.kind != PoolKind::both, "[onnx] [{}] cannot be exported; record both pools", op.name());
  const int64_t pad = d.padding;
  std::vector<Attribute> attributes = window({d.kernel, d.kernel}, d.stride, {pad, pad, pad, pad});
  if (op.kind == PoolKind::average) attributes.push_back({"count_include_pad", int64_t{0}});
  emit_last(node, op.kind == PoolKind::max ? "MaxPool" : "AveragePool", {input(node, 0)}, attributes);
}

void Exporter::global_pool(const ladarts::Node& node) {
  const std::string mean = emit_inner("GlobalAveragePool", {input(node, 0)}, {}, "mean");
  emit_last(node, "Flatten", {mean}, {{"axis", int64_t{1}}});
}

void Exporter::norm(const BatchNorm& op, const ladarts::Node& node) {
  require(!op.batch_statistics && op.has_affine,
          "[onnx] [batch_norm] is exported with running statistics, gamma and beta alone; record the network "
          "for inference");
  Names inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) inputs.push_back(input(node, i));
  emit_last(node, "BatchNormalization", inputs, {{"epsilon", op.eps}});
}

// From left to right, two at a time, as the kernels add.
void Exporter::sum(const ladarts::Node& node) {
  std::string total = input(node, 0);
  const size_t last = node.inputs.size() - 1;
  if (last == 0) return emit_last(node, "Identity", {total});
  for (size_t i = 1; i < last; ++i)
    total = emit_inner("Add", {total, input(node, i)}, {}, fmt::format("sum{}", i));
  emit_last(node, "Add", {total, input(node, last)});
}

void Exporter::concat(const Concat& op, const ladarts::Node& node) {
  require(op.axis == 1, "[onnx] [concat_rows] cannot be exported: it is no op of inference");
  Names inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) inputs.push_back(input(node, i));
  emit_last(node, "Concat", inputs, {{"axis", int64_t{1}}});
}

// ConstantOfShape makes zeros of a shape; where the caller chooses the batch, that is read from the input.
void Exporter::fill(float element, const ladarts::Node& node) {
  require(element == 0, "[onnx] [fill] with {} cannot be exported, only zeros", element);
  Ints dims = dims_of(shape_of(node.outputs[0]));
  if (!dynamic_batch()) return emit_last(node, "ConstantOfShape", {constant("shape", std::move(dims))});
  const std::string whole = emit_inner("Shape", {options_.input_name}, {}, "images_shape");
  const std::string batch =
      emit_inner("Slice", {whole, constant("first", {0}), constant("end", {1})}, {}, "batch");
  const std::string rest = constant("rest", Ints(dims.begin() + 1, dims.end()));
  const std::string shape = emit_inner("Concat", {batch, rest}, {{"axis", int64_t{0}}}, "shape");
  emit_last(node, "ConstantOfShape", {shape});
}

void Exporter::linear(const Linear& op, const ladarts::Node& node) {
  Names inputs{joined(node, 1, op.desc.relu_input)};
  for (size_t i = 1; i < node.inputs.size(); ++i) inputs.push_back(input(node, i));
  emit_last(node, "Gemm", inputs, {{"transB", int64_t{1}}});
}

}  // namespace

Model export_graph(const Graph& graph, const GraphExport& options) {
  require(options.input && options.output && &options.input.graph() == &graph &&
              &options.output.graph() == &graph,
          "[onnx] input and output must be values of the graph that is exported");
  return Exporter(graph, options).run();
}

}  // namespace ladarts::onnx
