#include "apps/op_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "ops/activations.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/factorized_reduce.h"
#include "ops/linear.h"
#include "ops/pool2d.h"
#include "ops/separable_conv.h"
#include "ops/separable_stage.h"

namespace ladarts {

namespace {

// Records an op over fresh random leaves, each of which is one that a gradient is asked for.
class Operands {
 public:
  Operands(Graph& graph, Device device) : graph_(graph), device_(device) {}
  Tensor random(Shape shape) {
    const Storage s = Storage::create(shape, DType::f32, device_);
    std::vector<float> values(size_t(shape.elements()));
    Random random(1, leaves.size());
    for (float& v : values) v = random.uniform(-1, 1);
    s.upload(std::span<const float>(values));
    leaves.push_back(graph_.leaf(s));
    return leaves.back();
  }
  std::vector<Tensor> leaves;

 private:
  Graph& graph_;
  Device device_;
};

Tensor image(Operands& o, const OpPoint& p) {
  return o.random({p.batch, p.channels, p.image, p.image});
}
int same_padding(const OpPoint& p) {
  return p.dilation * (p.kernel - 1) / 2;
}

struct KnownOp {
  std::string name, description;
  OpFields fields;  // image, kernel, stride, dilation, backward
  std::function<Tensor(Operands&, const OpPoint&)> record;
};

const std::vector<KnownOp>& known_ops() {
  using O = Operands;
  using P = OpPoint;
  static const std::vector<KnownOp> ops = {
      {"conv2d",
       "K x K, C to C channels",
       {true, true, true, true, true},
       [](O& o, const P& p) {
         Tensor x = image(o, p), w = o.random({p.channels, p.channels, p.kernel, p.kernel});
         return conv2d(x, w, {.stride = p.stride, .padding = same_padding(p), .dilation = p.dilation});
       }},
      {"depthwise",
       "K x K of each channel",
       {true, true, true, true, true},
       [](O& o, const P& p) {
         Tensor x = image(o, p), w = o.random({p.channels, 1, p.kernel, p.kernel});
         return conv2d(x, w,
                       {.stride = p.stride,
                        .padding = same_padding(p),
                        .dilation = p.dilation,
                        .groups = int(p.channels)});
       }},
      {"pointwise",
       "1 x 1, C to C channels",
       {true, false, true, false, true},
       [](O& o, const P& p) {
         Tensor x = image(o, p), w = o.random({p.channels, p.channels, 1, 1});
         return conv2d(x, w, {.stride = p.stride});
       }},
      {"separable",
       "ReLU, depthwise, pointwise, bias: inference alone",
       {true, true, true, true, false},
       [](O& o, const P& p) {
         Tensor x = image(o, p), d = o.random({p.channels, 1, p.kernel, p.kernel}),
                w = o.random({p.channels, p.channels, 1, 1}), b = o.random({p.channels});
         return separable_conv(x, d, w, b, {.stride = p.stride, .dilation = p.dilation});
       }},
      {"separable_stage",
       "ReLU, depthwise, pointwise, statistics: training",
       {true, true, true, true, true},
       [](O& o, const P& p) {
         Tensor x = image(o, p), d = o.random({p.channels, 1, p.kernel, p.kernel}),
                w = o.random({p.channels, p.channels, 1, 1});
         return separable_stage({{x, {}}}, {{.depthwise = d, .pointwise = w, .dilation = p.dilation}},
                                {.stride = p.stride})[0]
             .y;
       }},
      {"max_pool",
       "K x K windows",
       {true, true, true, false, true},
       [](O& o, const P& p) {
         return max_pool2d(image(o, p),
                           {.kernel = p.kernel, .stride = p.stride, .padding = (p.kernel - 1) / 2});
       }},
      {"avg_pool",
       "K x K windows",
       {true, true, true, false, true},
       [](O& o, const P& p) {
         return avg_pool2d(image(o, p),
                           {.kernel = p.kernel, .stride = p.stride, .padding = (p.kernel - 1) / 2});
       }},
      {"norm",
       "batch normalisation by the batch's statistics",
       {true, false, false, false, true},
       [](O& o, const P& p) {
         Tensor x = image(o, p), gamma = o.random({p.channels}), beta = o.random({p.channels});
         return batch_norm(x, gamma, beta, {});
       }},
      {"reduce",
       "factorized reduction: half the size",
       {true, false, false, false, true},
       [](O& o, const P& p) {
         require(p.channels % 2 == 0, "[reduce] an odd number of channels, {}, cannot be halved", p.channels);
         Tensor x = image(o, p), even = o.random({p.channels / 2, p.channels, 1, 1}),
                odd = o.random({p.channels / 2, p.channels, 1, 1});
         return factorized_reduce(x, even, odd);
       }},
      {"relu",
       "max(x, 0)",
       {true, false, false, false, true},
       [](O& o, const P& p) { return relu(image(o, p)); }},
      {"linear",
       "C to C values, with bias",
       {false, false, false, false, true},
       [](O& o, const P& p) {
         Tensor x = o.random({p.batch, p.channels}), w = o.random({p.channels, p.channels}),
                b = o.random({p.channels});
         return linear(x, w, b);
       }},
  };
  return ops;
}

const KnownOp& find_op(const std::string& name) {
  for (const KnownOp& op : known_ops())
    if (op.name == name) return op;
  std::string names;
  for (const KnownOp& op : known_ops()) names += (names.empty() ? "" : ", ") + op.name;
  fail("[bench ops] '{}' is no op that is timed alone; there are {}", name, names);
}

bool is_backward(const NodeInfo& node) {
  return node.scope.find("backward") != std::string::npos;
}

// A program whose nodes of one pass are timed.
class OurOp : public TimedOp {
 public:
  OurOp(Program program, Pass pass) : program_(std::move(program)) {
    const std::vector<NodeInfo> nodes = program_.nodes();
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (is_backward(nodes[i]) != (pass == Pass::backward)) continue;
      timed_.push_back(i);
      cost_.flops += nodes[i].cost.flops;
      cost_.bytes_moved += nodes[i].cost.bytes_moved;
      scratch_ = std::max(scratch_, nodes[i].scratch_bytes);
      if (std::find(kernels_.begin(), kernels_.end(), nodes[i].kernel) == kernels_.end())
        kernels_.push_back(nodes[i].kernel);
    }
    LADARTS_CHECK(!timed_.empty());
  }
  double run_us() override {
    program_.run_timed(marks_);
    int64_t ns = 0;
    for (size_t i : timed_) ns += marks_[i + 1] - marks_[i];
    return 1e-3 * double(ns);
  }
  Cost cost() const override { return cost_; }
  size_t scratch_bytes() const override { return scratch_; }
  std::vector<std::string> kernels() const override { return kernels_; }

 private:
  Program program_;
  std::vector<size_t> timed_;
  std::vector<int64_t> marks_;
  Cost cost_;
  size_t scratch_ = 0;
  std::vector<std::string> kernels_;
};

}  // namespace

const char* to_string(Pass pass) {
  return pass == Pass::forward ? "forward" : "backward";
}

std::string OpPoint::str() const {
  const OpFields f = fields_of(op);
  std::string out = fmt::format("{} n{} c{}", op, batch, channels);
  if (f.image) out += fmt::format(" {0}x{0}", image);
  if (f.kernel) out += fmt::format(" k{}", kernel);
  if (f.stride) out += fmt::format(" s{}", stride);
  if (f.dilation) out += fmt::format(" d{}", dilation);
  return out + " " + to_string(pass);
}

const std::vector<std::string>& op_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const KnownOp& op : known_ops()) list.push_back(op.name);
    return list;
  }();
  return names;
}

OpFields fields_of(const std::string& op) {
  return find_op(op).fields;
}

std::string op_descriptions() {
  std::string out;
  for (const KnownOp& op : known_ops()) out += fmt::format("  {:<16} {}\n", op.name, op.description);
  return out;
}

std::unique_ptr<TimedOp> make_timed_op(const OpPoint& point, Device device, const KernelPolicy& kernels) {
  const KnownOp& op = find_op(point.op);
  require(point.pass == Pass::forward || op.fields.backward,
          "[{}] has no gradient: it is for inference alone", op.name);
  require(!op.fields.kernel || point.kernel % 2 == 1,
          "[{}] a kernel of side {} has no middle; use an odd side", op.name, point.kernel);
  Graph graph(device);
  Operands operands(graph, device);
  Tensor y = op.record(operands, point);
  if (point.pass == Pass::forward) {
    graph.bind_output(y);
  } else {
    const std::vector<Tensor> wrt = operands.leaves;
    const Tensor seed = operands.random(y.shape());
    for (const Tensor& g : vector_jacobian({&y, 1}, {&seed, 1}, wrt)) graph.bind_output(g);
  }
  return std::make_unique<OurOp>(compile(graph, {.kernels = &kernels}), point.pass);
}

}  // namespace ladarts
