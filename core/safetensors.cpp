#include "core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>

#include "core/atomic_file.h"
#include "core/json_file.h"

namespace ladarts {

namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr size_t kLengthBytes = 8;  // the header's length, u64, comes first
constexpr size_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kAlignment = 8;
const char* const kMetadataKey = "__metadata__";

std::string_view bytes_of_values(const HostTensor& t) {
  return std::visit(
      [](const auto& v) {
        return std::string_view(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(v[0]));
      },
      t.values);
}

HostTensor make_tensor(Shape shape, DType dtype) {
  const size_t n = size_t(shape.elements());
  if (dtype == DType::f32) return {shape, std::vector<float>(n)};
  return {shape, std::vector<int32_t>(n)};
}

std::string header_of(const TensorFile& file) {
  Json header = Json::object();
  if (!file.metadata.empty()) header[kMetadataKey] = file.metadata;
  size_t offset = 0;
  for (const auto& [name, tensor] : file.tensors) {
    LADARTS_CHECK(name != kMetadataKey);
    const size_t bytes = bytes_of_values(tensor).size();
    LADARTS_CHECK(bytes == size_t(tensor.shape.elements()) * bytes_of(tensor.dtype()));
    Json shape = Json::array();
    for (int i = 0; i < tensor.shape.rank(); ++i) shape.push_back(tensor.shape[i]);
    header[name] = {{"dtype", tensor.dtype() == DType::f32 ? "F32" : "I32"},
                    {"shape", std::move(shape)},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = to_json_line(header);
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return text;
}

// One tensor as the header declares it; offsets from the end of the header.
struct Entry {
  std::string name;
  Shape shape;
  DType dtype;
  size_t begin, end;
};

std::vector<int64_t> sizes_of(JsonFields& fields, const std::string& key) {
  const Json& list = fields.at(key);
  require(list.is_array(), "{}: '{}' should be a list", fields.where(), key);
  std::vector<int64_t> sizes;
  for (const Json& size : list) {
    require(size.is_number_unsigned() && std::in_range<int64_t>(size.get<uint64_t>()),
            "{}: '{}' should hold whole numbers, not negative", fields.where(), key);
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

Entry parse_entry(const std::string& where, const std::string& name, const Json& declared,
                  size_t data_bytes) {
  JsonFields fields(declared, fmt::format("{}: [safetensors] tensor '{}'", where, name));
  const std::string dtype = fields.get<std::string>("dtype");
  require(dtype == "F32" || dtype == "I32", "{}: type {} is not supported; F32 and I32 are", fields.where(),
          dtype);
  Entry entry{name, {}, dtype == "F32" ? DType::f32 : DType::i32, 0, 0};

  const std::vector<int64_t> sizes = sizes_of(fields, "shape");
  require(sizes.size() <= size_t(Shape::kMaxRank), "{}: rank {} is above the largest supported, {}",
          fields.where(), sizes.size(), Shape::kMaxRank);
  int64_t elements = 1;
  for (int64_t size : sizes)
    require(!__builtin_mul_overflow(elements, size, &elements) && elements <= int64_t(1) << 48,
            "{}: the shape is too large", fields.where());
  entry.shape = Shape::of(sizes);

  const std::vector<int64_t> offsets = sizes_of(fields, "data_offsets");
  require(offsets.size() == 2, "{}: 'data_offsets' should hold two numbers", fields.where());
  entry.begin = size_t(offsets[0]), entry.end = size_t(offsets[1]);
  require(entry.begin <= entry.end && entry.end <= data_bytes,
          "{}: its bytes {} to {} are not inside the {} bytes of data; the file is truncated or damaged",
          fields.where(), entry.begin, entry.end, data_bytes);
  require(entry.end - entry.begin == size_t(elements) * bytes_of(entry.dtype),
          "{}: shape {} needs {} bytes, its offsets give {}", fields.where(), entry.shape.str(),
          size_t(elements) * bytes_of(entry.dtype), entry.end - entry.begin);
  fields.finish();
  return entry;
}

// The entries in order of their bytes, which they must cover without overlap, gap or rest.
void check_cover(const std::string& where, std::vector<Entry>& entries, size_t data_begin,
                 size_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  size_t covered = 0;
  for (const Entry& e : entries) {
    require(e.begin == covered, "{}: [safetensors] tensor '{}' begins at byte {} of the file, expected {}",
            where, e.name, data_begin + e.begin, data_begin + covered);
    covered = e.end;
  }
  require(covered == data_bytes, "{}: [safetensors] {} bytes at offset {} belong to no tensor", where,
          data_bytes - covered, data_begin + covered);
}

std::string_view header_text(const std::string& where, std::string_view contents) {
  require(contents.size() >= kLengthBytes,
          "{}: [safetensors] {} bytes long, too short for a header; truncated?", where, contents.size());
  uint64_t length = 0;
  std::memcpy(&length, contents.data(), sizeof(length));
  require(length <= kMaxHeaderBytes && length <= contents.size() - kLengthBytes,
          "{}: [safetensors] the header at offset {} claims {} bytes, the file has {}; truncated, or not a "
          "safetensors file",
          where, kLengthBytes, length, contents.size() - kLengthBytes);
  return contents.substr(kLengthBytes, length);
}

std::map<std::string, std::string> metadata_of(const std::string& where, const Json& declared) {
  JsonFields fields(declared, fmt::format("{}: [safetensors] {}", where, kMetadataKey));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : declared.items()) metadata[key] = fields.get<std::string>(key);
  return metadata;
}

HostTensor to_host(const Storage& storage) {
  HostTensor t = make_tensor(storage.shape(), storage.dtype());
  std::visit([&](auto& values) { storage.download(std::span(values)); }, t.values);
  return t;
}

// What hinders loading `file` into a storage, if anything.
std::optional<std::string> mismatch(const TensorFile& file, const std::string& name, const Storage& storage) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) return "missing " + name;
  const HostTensor& t = found->second;
  if (t.shape == storage.shape() && t.dtype() == storage.dtype()) return std::nullopt;
  return fmt::format("{} is {} {} in the file, {} {} here", name, to_string(t.dtype()), t.shape.str(),
                     to_string(storage.dtype()), storage.shape().str());
}

void refuse(const std::string& where, const std::vector<std::string>& problems) {
  if (problems.empty()) return;
  constexpr size_t kShown = 8;
  std::string list;
  for (size_t i = 0; i < std::min(problems.size(), kShown); ++i) list += (i ? "; " : "") + problems[i];
  if (problems.size() > kShown) list += fmt::format("; and {} more", problems.size() - kShown);
  fail("{}: [safetensors] holds another network than this one: {}; use the file that was saved from it",
       where, list);
}

NamedStorages all_values(const std::vector<ParameterSet*>& sets) {
  NamedStorages all;
  for (ParameterSet* set : sets)
    for (auto& value : named_values(*set)) all.push_back(std::move(value));
  return all;
}

}  // namespace

void save_tensors(const std::filesystem::path& path, const TensorFile& file) {
  const std::string header = header_of(file);
  const uint64_t length = header.size();
  AtomicFile out(path);
  out.write(&length, sizeof(length));
  out.write(header);
  for (const auto& [name, tensor] : file.tensors) out.write(bytes_of_values(tensor));
  out.commit();
}

TensorFile load_tensors(const std::filesystem::path& path) {
  const std::string where = path.string();
  const std::string contents = read_file(path);
  const std::string_view text = header_text(where, contents);
  const std::string_view data = std::string_view(contents).substr(kLengthBytes + text.size());
  const Json header = parse_json(text, where + ": [safetensors] header");
  require(header.is_object(), "{}: [safetensors] the header at offset {} is not a JSON object", where,
          kLengthBytes);

  TensorFile file;
  std::vector<Entry> entries;
  for (const auto& [name, declared] : header.items()) {
    if (name == kMetadataKey)
      file.metadata = metadata_of(where, declared);
    else
      entries.push_back(parse_entry(where, name, declared, data.size()));
  }
  check_cover(where, entries, kLengthBytes + text.size(), data.size());
  for (const Entry& e : entries) {
    HostTensor& t = file.tensors[e.name] = make_tensor(e.shape, e.dtype);
    if (e.end > e.begin)
      std::visit([&](auto& v) { std::memcpy(v.data(), data.data() + e.begin, e.end - e.begin); }, t.values);
  }
  return file;
}

NamedStorages named_values(ParameterSet& parameters, const std::string& prefix) {
  parameters.values();  // allocates and initialises
  NamedStorages result;
  for (const auto& e : parameters.entries()) result.emplace_back(prefix + e.name, e.value);
  return result;
}

NamedStorages named_slices(ParameterSet& parameters, const Storage& state, const std::string& prefix) {
  const Storage values = parameters.values();
  LADARTS_CHECK(state.shape() == values.shape());
  NamedStorages result;
  for (const auto& e : parameters.entries())
    result.emplace_back(prefix + e.name,
                        Storage(state.buffer(), state.offset() + (e.value.offset() - values.offset()),
                                e.value.shape(), e.value.dtype()));
  return result;
}

void save_storages(const std::filesystem::path& path, const NamedStorages& storages,
                   const std::map<std::string, std::string>& metadata) {
  TensorFile file{{}, metadata};
  for (const auto& [name, storage] : storages)
    require(file.tensors.emplace(name, to_host(storage)).second, "[safetensors] two values are named '{}'",
            name);
  save_tensors(path, file);
}

std::map<std::string, std::string> load_storages(const std::filesystem::path& path,
                                                 const NamedStorages& storages) {
  TensorFile file = load_tensors(path);
  std::vector<std::string> problems;
  std::set<std::string> expected;
  for (const auto& [name, storage] : storages) {
    expected.insert(name);
    if (auto problem = mismatch(file, name, storage)) problems.push_back(std::move(*problem));
  }
  for (const auto& [name, tensor] : file.tensors)
    if (!expected.contains(name)) problems.push_back("unknown " + name);
  refuse(path.string(), problems);
  for (const auto& [name, storage] : storages)
    std::visit([&](const auto& v) { storage.upload(std::span(v)); }, file.tensors.at(name).values);
  return std::move(file.metadata);
}

void save_parameters(const std::filesystem::path& path, const std::vector<ParameterSet*>& sets,
                     const std::map<std::string, std::string>& metadata) {
  save_storages(path, all_values(sets), metadata);
}

std::map<std::string, std::string> load_parameters(const std::filesystem::path& path,
                                                   const std::vector<ParameterSet*>& sets) {
  return load_storages(path, all_values(sets));
}

}  // namespace ladarts
