#include "nas/data/cifar.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "core/atomic_file.h"
#include "core/json_file.h"

namespace ladarts {

namespace fs = std::filesystem;

namespace {

const std::vector<std::string> kCifar10Classes = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                  "dog",      "frog",       "horse", "ship", "truck"};
constexpr int kCoarseClasses = 20;  // CIFAR-100's
constexpr int kMaxSize = 1024;

struct Layout {
  std::vector<std::string> train_files;
  std::string test_file;
  std::string class_file;
  int label_bytes;  // the last one is the label that counts
  std::vector<std::string> default_classes;
};

Layout cifar10_layout() {
  Layout layout{{}, kCifarTestName, kCifarClassesName, 1, kCifar10Classes};
  for (int i = 0; i < kCifarBatches; ++i) layout.train_files.push_back(cifar_batch_name(i));
  return layout;
}

Layout cifar100_layout() {
  Layout layout{{"train.bin"}, "test.bin", "fine_label_names.txt", 2, {}};
  for (int i = 0; i < 100; ++i) layout.default_classes.push_back(fmt::format("class {}", i));
  return layout;
}

// Which of the two the folder holds, by the files that are there.
Layout find_layout(const fs::path& folder) {
  const char* const remedy =
      "unpack the binary version of CIFAR-10 or CIFAR-100 there, or write a synthetic set with 'ladarts "
      "data'";
  require(fs::exists(folder), "[cifar] the folder '{}' does not exist; {}", folder.string(), remedy);
  require(fs::is_directory(folder), "[cifar] '{}' is not a folder; name the folder of the .bin files",
          folder.string());
  const Layout layouts[] = {cifar10_layout(), cifar100_layout()};
  for (const Layout& layout : layouts) {
    std::vector<std::string> files = layout.train_files, missing;
    files.push_back(layout.test_file);
    for (const std::string& name : files)
      if (!fs::exists(folder / name)) missing.push_back(name);
    if (missing.empty()) return layout;
    require(missing.size() == files.size(), "[cifar] '{}' lacks {}; {}", folder.string(),
            fmt::join(missing, ", "), remedy);
  }
  fail(
      "[cifar] '{}' holds neither data_batch_1.bin .. data_batch_5.bin and test_batch.bin nor train.bin and "
      "test.bin; {}",
      folder.string(), remedy);
}

std::vector<std::string> read_classes(const fs::path& folder, const Layout& layout) {
  const fs::path path = folder / layout.class_file;
  if (!fs::exists(path)) return layout.default_classes;
  const std::string text = read_file(path);
  std::vector<std::string> classes;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) classes.push_back(std::move(line));
    begin = end + 1;
  }
  require(!classes.empty() && classes.size() <= 256,
          "[cifar] '{}' names {} classes; 1 to 256 names, one per line, are expected", path.string(),
          classes.size());
  return classes;
}

int read_size(const fs::path& folder) {
  const fs::path path = folder / kImageSetName;
  if (!fs::exists(path)) return 32;
  const Json description = read_json_file(path);
  JsonFields fields(description, path.string());
  require(fields.get_or<bool>("complete", true),
          "[cifar] '{}' is not complete: writing it was interrupted; write it again", folder.string());
  const int size = fields.get<int>("size");
  require(size >= 1 && size <= kMaxSize, "{}: [cifar] the image size is {}; 1 to {} is possible",
          path.string(), size, kMaxSize);
  return size;
}

void check_label(const fs::path& path, size_t offset, unsigned label, size_t classes, const char* kind) {
  require(label < classes,
          "[cifar] '{}', offset {}: {}label {} is out of range, there are {} classes; the file is "
          "damaged or of another data set",
          path.string(), offset, kind, label, classes);
}

// Appends the records of a file to the set.
void read_records(const fs::path& path, int label_bytes, ImageSet& set) {
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) throw Error(file_error(path, "stat", error.value()));
  const size_t record = size_t(label_bytes) + set.image_bytes();
  // Checked before reading: a wrong file may be huge.
  require(bytes % record == 0,
          "[cifar] '{}', offset {}: {} bytes follow the last whole record of {}; the file is truncated, or "
          "not in "
          "the binary format for {}x{} images",
          path.string(), bytes / record * record, bytes % record, record, set.size, set.size);
  require(bytes > 0, "[cifar] '{}' is empty; a record of {} bytes is the least", path.string(), record);
  const std::string contents = read_file(path);
  require(contents.size() == bytes, "[cifar] '{}' changed while it was read; try again", path.string());

  const size_t records = contents.size() / record, first = set.labels.size();
  set.labels.resize(first + records);
  set.images.resize((first + records) * set.image_bytes());
  for (size_t i = 0; i < records; ++i) {
    const uint8_t* r = reinterpret_cast<const uint8_t*>(contents.data()) + i * record;
    if (label_bytes == 2) check_label(path, i * record, r[0], kCoarseClasses, "coarse ");
    const size_t label_at = size_t(label_bytes) - 1;
    check_label(path, i * record + label_at, r[label_at], set.classes.size(), "");
    set.labels[first + i] = r[label_at];
    std::memcpy(set.images.data() + (first + i) * set.image_bytes(), r + label_bytes, set.image_bytes());
  }
}

}  // namespace

std::string cifar_batch_name(int batch) {
  return fmt::format("data_batch_{}.bin", batch + 1);
}

ImageSets read_cifar(const fs::path& folder) {
  const Layout layout = find_layout(folder);
  ImageSets sets;
  sets.train.size = sets.test.size = read_size(folder);
  sets.train.classes = sets.test.classes = read_classes(folder, layout);
  for (const std::string& name : layout.train_files)
    read_records(folder / name, layout.label_bytes, sets.train);
  read_records(folder / layout.test_file, layout.label_bytes, sets.test);
  sets.normalisation =
      sets.train.classes == kCifar10Classes ? kCifar10Normalisation : measure_normalisation(sets.train);
  return sets;
}

}  // namespace ladarts
