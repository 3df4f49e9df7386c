#include "core/parameters.h"

#include <cmath>

#include "core/error.h"
#include "core/philox.h"

namespace ladarts {

Init Init::fan_in(int64_t fan_in) {
  return uniform(1.f / std::sqrt(float(fan_in)));
}

ParameterSet::ParameterSet(uint64_t seed, Device device)
    : seed_(seed), values_(std::make_shared<Buffer>(device)), gradients_(std::make_shared<Buffer>(device)) {}

Tensor ParameterSet::get(Graph& graph, const std::string& name, Shape shape, Init init) {
  if (auto it = index_.find(name); it != index_.end()) {
    const Entry& e = entries_[it->second];
    require(e.value.shape() == shape, "[parameters] '{}' has shape {}, asked for as {}", name,
            e.value.shape().str(), shape.str());
    return graph.leaf(e.value, name);
  }
  require(!closed_,
          "[parameters] '{}' is new, but the set is in use already: record every network before running one",
          name);
  const size_t bytes = size_t(shape.elements()) * sizeof(float);
  const size_t offset = values_->reserve(bytes);
  LADARTS_CHECK(gradients_->reserve(bytes) == offset);
  index_[name] = entries_.size();
  entries_.push_back({name, Storage(values_, offset, shape), Storage(gradients_, offset, shape), init});
  return graph.leaf(entries_.back().value, name);
}

const ParameterSet::Entry* ParameterSet::find(const std::string& name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &entries_[it->second];
}

int64_t ParameterSet::count() const {
  int64_t n = 0;
  for (const Entry& e : entries_) n += e.value.shape().elements();
  return n;
}

std::vector<Tensor> ParameterSet::leaves(Graph& graph) const {
  std::vector<Tensor> result;
  for (const Entry& e : entries_) result.push_back(graph.leaf(e.value, e.name));
  return result;
}

std::vector<Storage> ParameterSet::gradient_storages() const {
  std::vector<Storage> result;
  for (const Entry& e : entries_) result.push_back(e.gradient);
  return result;
}

namespace {

uint64_t hash_name(const std::string& name) {  // FNV-1a
  uint64_t h = 0xcbf29ce484222325u;
  for (unsigned char c : name) h = (h ^ c) * 0x100000001b3u;
  return h;
}

}  // namespace

void ParameterSet::initialise() {
  closed_ = true;
  std::vector<float> host;
  for (const Entry& e : entries_) {
    host.assign(size_t(e.value.shape().elements()), e.init.value);
    Random random(seed_, hash_name(e.name));
    if (e.init.kind == Init::Kind::uniform)
      for (float& v : host) v = random.uniform(-e.init.value, e.init.value);
    if (e.init.kind == Init::Kind::normal)
      for (float& v : host) v = e.init.value * random.normal();
    e.value.upload(std::span<const float>(host));
  }
}

Storage ParameterSet::values() {
  if (!closed_) initialise();
  return Storage::all_of(values_);
}

Storage ParameterSet::gradients() {
  if (!closed_) initialise();
  return Storage::all_of(gradients_);
}

}  // namespace ladarts
