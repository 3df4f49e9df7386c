// Exported networks, read back by a reader of the wire format that shares nothing with the writer. That ONNX
// Runtime computes the same from them is scripts/check_onnx.sh's to check.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/error.h"
#include "core/program.h"
#include "nas/onnx/graph_export.h"
#include "nas/onnx/network_export.h"
#include "nas/onnx/protobuf.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "ops/pool2d.h"
#include "tests/nas/network_support.h"
#include "tests/support/catch.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// One message: the values of each field, numbers as they are, the rest as bytes.
struct Decoded {
  std::multimap<int, uint64_t> numbers;
  std::multimap<int, std::string> bytes;

  explicit Decoded(const std::string& data) {
    for (size_t at = 0; at < data.size();) {
      const uint64_t key = varint(data, at);
      const int field = int(key >> 3);
      switch (key & 7) {
        case 0:
          numbers.emplace(field, varint(data, at));
          break;
        case 2: {
          const uint64_t length = varint(data, at);
          REQUIRE(at + length <= data.size());
          bytes.emplace(field, data.substr(at, length));
          at += length;
          break;
        }
        case 5:
          REQUIRE(at + 4 <= data.size());
          bytes.emplace(field, data.substr(at, 4));
          at += 4;
          break;
        default:
          FAIL("wire type " << (key & 7));
      }
    }
  }
  static uint64_t varint(const std::string& data, size_t& at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at < data.size());
      REQUIRE(shift < 64);
      const auto byte = uint8_t(data[at++]);
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  int64_t number(int field) const {
    REQUIRE(numbers.count(field) == 1);
    return int64_t(numbers.find(field)->second);
  }
  std::string text(int field) const {
    REQUIRE(bytes.count(field) == 1);
    return bytes.find(field)->second;
  }
  std::vector<std::string> texts(int field) const {
    std::vector<std::string> all;
    for (auto [i, end] = bytes.equal_range(field); i != end; ++i) all.push_back(i->second);
    return all;
  }
  std::vector<int64_t> list(int field) const {
    std::vector<int64_t> all;
    for (auto [i, end] = numbers.equal_range(field); i != end; ++i) all.push_back(int64_t(i->second));
    return all;
  }
};

// The parts of a file, by the field numbers of onnx.proto.
struct File {
  explicit File(const std::string& data) : model(data), graph(model.text(7)) {}
  Decoded model, graph;

  std::vector<Decoded> nodes() const { return all(1); }
  std::vector<Decoded> constants() const { return all(5); }
  int count(const std::string& op_type) const {
    const auto list = nodes();
    return int(
        std::count_if(list.begin(), list.end(), [&](const Decoded& n) { return n.text(4) == op_type; }));
  }
  std::string metadata(const std::string& key) const {
    for (const std::string& entry : model.texts(14))
      if (const Decoded d(entry); d.text(1) == key) return d.text(2);
    return "";
  }
  // A value of `field`, as "images: 3 3 16 16".
  std::string value(int field) const {
    const Decoded v(graph.text(field));
    const Decoded tensor(Decoded(v.text(2)).text(1));
    CHECK(tensor.number(1) == 1);  // float
    std::string text = v.text(1) + ":";
    for (const std::string& dim : Decoded(tensor.text(2)).texts(1)) {
      const Decoded d(dim);
      text += " " + (d.numbers.count(1) ? std::to_string(d.number(1)) : d.text(2));
    }
    return text;
  }

 private:
  std::vector<Decoded> all(int field) const {
    std::vector<Decoded> list;
    for (const std::string& part : graph.texts(field)) list.emplace_back(part);
    return list;
  }
};

std::vector<int64_t> attribute(const Decoded& node, const std::string& name) {
  for (const std::string& a : node.texts(5))
    if (const Decoded d(a); d.text(1) == name) return d.number(20) == 7 ? d.list(8) : d.list(3);
  FAIL(node.text(4) << " has no attribute " << name);
  return {};
}

// What every reader relies on: values come before they are read, names are given once, constants are whole.
void check_sound(const File& file) {
  CHECK(file.model.number(1) == 7);
  const Decoded opset(file.model.text(8));
  CHECK(opset.number(2) == 13);
  CHECK(opset.text(1).empty());
  CHECK(file.model.text(2) == "ladarts");
  std::set<std::string> known{Decoded(file.graph.text(11)).text(1)}, read;
  for (const Decoded& c : file.constants()) {
    CHECK(known.insert(c.text(8)).second);
    int64_t elements = 1;
    for (int64_t d : c.list(1)) elements *= d;
    CHECK(int64_t(c.text(9).size()) == elements * (c.number(2) == 1 ? 4 : 8));
  }
  std::set<std::string> names;
  for (const Decoded& node : file.nodes()) {
    INFO(node.text(3));
    CHECK(names.insert(node.text(3)).second);
    for (const std::string& in : node.texts(1)) {
      CHECK(known.count(in) == 1);
      read.insert(in);
    }
    for (const std::string& out : node.texts(2)) CHECK(known.insert(out).second);
  }
  const std::string output = Decoded(file.graph.text(12)).text(1);
  read.insert(output);
  for (const std::string& name : known) {
    INFO(name);
    CHECK(read.count(name) == 1);  // nothing is computed or stored in vain
  }
}

File exported(const NetworkConfig& config, int batch) {
  return File(onnx::serialise(onnx::ExportableNetwork(config, {.batch = batch}).model()));
}

}  // namespace

TEST_CASE("onnx: numbers and texts are written as the wire format has them", "[nas][onnx]") {
  onnx::Message m;
  m.integer(1, 150);
  m.text(2, "testing");
  m.integer(3, -1);
  m.real(20, 1.f);
  const std::string expected(
      "\x08\x96\x01\x12\x07testing\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xa5\x01\x00\x00\x80\x3f", 29);
  CHECK(m.bytes() == expected);
}

TEST_CASE("onnx: networks of every primitive and space are sound files", "[nas][onnx]") {
  const NetworkShape cifar{.channels = 4, .layers = 4, .classes = 7, .image = 17};
  const std::vector<NetworkConfig> configs = {
      config_of(kEveryPrimitive, cifar),
      config_of("PC_DARTS_image",
                {.channels = 4, .layers = 4, .classes = 9, .image = 64, .stem = Stem::imagenet}),
      config_of("|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|",
                {.channels = 4, .layers = 1, .classes = 3, .image = 16})};
  for (const NetworkConfig& config : configs)
    for (int batch : {0, 1, 3}) {
      INFO(to_text(config.genotype, config.space) << " batch " << batch);
      const File file = exported(config, batch);
      check_sound(file);
      const std::string images = batch == 0 ? "batch" : std::to_string(batch);
      CHECK(file.value(11) == fmt::format("images: {0} 3 {1} {1}", images, config.shape.image));
      CHECK(file.value(12) == fmt::format("logits: {} {}", images, config.shape.classes));
      CHECK(file.metadata("ladarts.weights") == "random");
      CHECK(file.metadata("ladarts.genotype") == to_text(config.genotype, config.space));
    }
}

TEST_CASE("onnx: weights are those of the network, under their names", "[nas][onnx]") {
  const NetworkConfig config = config_of("DARTS_V2", {.channels = 4, .layers = 3, .classes = 5, .image = 16});
  const onnx::Model model = onnx::ExportableNetwork(config, {.seed = 3}).model();
  const File file(onnx::serialise(model));
  Graph graph;
  ParameterSet folded(3), unused;
  record_network(graph, config, NetworkMode::inference, folded, unused,
                 graph.leaf(Storage::create({1, 3, 16, 16})));
  folded.values();
  size_t found = 0;
  for (const Decoded& c : file.constants()) {
    const ParameterSet::Entry* entry = folded.find(c.text(8));
    if (!entry) continue;  // bounds of slices
    ++found;
    const std::vector<float> values = entry->value.to_vector();
    const std::string raw = c.text(9);
    REQUIRE(raw.size() == values.size() * sizeof(float));
    CHECK(std::memcmp(raw.data(), values.data(), raw.size()) == 0);
    std::vector<int64_t> dims;
    for (int i = 0; i < entry->value.shape().rank(); ++i) dims.push_back(entry->value.shape()[i]);
    CHECK(c.list(1) == dims);
  }
  CHECK(found == folded.entries().size());
}

TEST_CASE("onnx: ops become the nodes that their definitions ask for", "[nas][onnx]") {
  const File file = exported(config_of(kEveryPrimitive, {.channels = 4, .layers = 3, .image = 17}), 1);
  int dilated = 0, strided_pools = 0;
  for (const Decoded& node : file.nodes()) {
    const std::string op = node.text(4);
    if (op == "Conv" && attribute(node, "dilations") == std::vector<int64_t>{2, 2}) {
      ++dilated;
      const int64_t kernel = attribute(node, "kernel_shape")[0], pad = kernel - 1;  // 2 (K - 1) / 2
      CHECK(attribute(node, "pads") == std::vector<int64_t>{pad, pad, pad, pad});
      CHECK(attribute(node, "group")[0] > 1);
    }
    if (op == "AveragePool") CHECK(attribute(node, "count_include_pad") == std::vector<int64_t>{0});
    if (op == "MaxPool" || op == "AveragePool") {
      CHECK(attribute(node, "kernel_shape") == std::vector<int64_t>{3, 3});
      CHECK(attribute(node, "pads") == std::vector<int64_t>{1, 1, 1, 1});
      strided_pools += attribute(node, "strides") == std::vector<int64_t>{2, 2};
    }
  }
  // Cells 1 and 2 are reductions, with two dilated convolutions and two pools each; cell 0 has two and two.
  CHECK(dilated == 6);
  CHECK(strided_pools == 4);
  CHECK(file.count("MaxPool") == 3);
  CHECK(file.count("AveragePool") == 3);
  CHECK(file.count("GlobalAveragePool") == 4);  // of each node of the last cell
  CHECK(file.count("Gemm") == 1);
  CHECK(file.count("BatchNormalization") == 0);  // folded
}

TEST_CASE("onnx: a linear layer that reads its input through ReLU is a Relu and a Gemm", "[nas][onnx]") {
  Graph graph;
  const Tensor x = graph.leaf(Storage::create({2, 3})), w = graph.leaf(Storage::create({4, 3}), "weight");
  const Tensor y = linear(x, w, {}, {.relu_input = true});
  const onnx::Model model = onnx::export_graph(graph, {.input = x, .output = y});
  REQUIRE(model.nodes.size() == 2);
  CHECK(model.nodes[0].op_type == "Relu");
  CHECK(model.nodes[1].op_type == "Gemm");
  CHECK(model.nodes[1].inputs == std::vector{model.nodes[0].outputs[0], std::string("weight")});
}

TEST_CASE("onnx: what training records is refused by name", "[nas][onnx]") {
  Graph graph;
  ParameterSet params, buffers;
  const Tensor images = graph.leaf(Storage::create({2, 3, 16, 16}));
  const Network network =
      record_network(graph, config_of("DARTS_V2", {.channels = 4, .layers = 3, .image = 16}),
                     NetworkMode::training, params, buffers, images);
  params.values();
  buffers.values();
  CHECK_THROWS_WITH(onnx::export_graph(graph, {.input = images, .output = network.logits}),
                    ContainsSubstring("record the network for inference"));
  const Tensor y = scale(images, 2.f);
  CHECK_THROWS_WITH(onnx::export_graph(graph, {.input = images, .output = y}), ContainsSubstring("[scale]"));
}

TEST_CASE("onnx: a trained network is exported with its folded weights and its images' normalisation",
          "[nas][onnx]") {
  LoadedNetwork trained;
  trained.config = config_of(kEveryPrimitive, {.channels = 4, .layers = 3, .classes = 3, .image = 16});
  trained.params = std::make_unique<ParameterSet>(1);
  trained.buffers = std::make_unique<ParameterSet>();
  Graph graph;
  const Storage images = random_images({2, 3, 16, 16});
  const Network evaluation = record_network(graph, trained.config, NetworkMode::evaluation, *trained.params,
                                            *trained.buffers, graph.leaf(images));
  disturb(*trained.params, ".gamma", 0.5f, 1.5f);
  disturb(*trained.buffers, ".running_var", 0.5f, 1.5f);
  const Storage logits = graph.bind_output(evaluation.logits);
  compile(graph).run();
  const onnx::ExportableNetwork network(trained, {.batch = 2});
  const std::vector<float> expected = logits.to_vector(), result = network.run(images.to_vector());
  CHECK(largest_difference(expected, result) < 2e-4 * largest_magnitude(expected));

  File file(onnx::serialise(network.model()));
  check_sound(file);
  CHECK(file.metadata("ladarts.weights") == "trained");
  CHECK_THAT(file.metadata("image.normalisation"), ContainsSubstring("unknown"));
  trained.facts = {{"normalisation", to_json(Normalisation{{.5f, .25f, 0}, {1, 2, .5f}})}};
  file = File(onnx::serialise(onnx::ExportableNetwork(trained, {}).model()));
  CHECK(file.metadata("image.normalisation") == R"({"mean":[0.5,0.25,0.0],"deviation":[1.0,2.0,0.5]})");
}
