#include "core/kernel_memory.h"

#include <fcntl.h>

#include <chrono>
#include <memory>
#include <thread>

#include "core/atomic_file.h"
#include "core/json_file.h"
#include "core/progress.h"

namespace ladarts {

namespace {

constexpr int kChoicesFormat = 1;

// Held while a file is read, changed and replaced. Others need milliseconds for that.
class ChoicesLock {
 public:
  explicit ChoicesLock(const std::filesystem::path& file)
      : descriptor_(file.string() + ".lock", O_CREAT | O_RDWR) {
    using namespace std::chrono_literals;
    for (int tries_left = 200;; --tries_left) try {
        descriptor_.lock();
        return;
      } catch (const Error&) {
        if (tries_left == 0) throw;
        std::this_thread::sleep_for(10ms);
      }
  }

 private:
  FileDescriptor descriptor_;
};

using Entries = std::map<std::string, std::map<std::string, KernelMemory::Entry>>;

KernelMemory::Entry entry_of(const Json& j, const std::string& where) {
  JsonFields fields(j, where);
  KernelMemory::Entry entry{fields.get<std::string>("kernel"), {}};
  for (const auto& [name, us] : fields.at("us").items()) {
    require(us.is_number(), "{}: [json] '{}' should be a number, is {}", where, name, json_kind(us));
    entry.us[name] = us.get<double>();
  }
  return entry;
}

Entries entries_of(const std::filesystem::path& file) {
  const Json whole = read_json_file(file);
  JsonFields fields(whole, file.string());
  const int format = fields.get<int>("format");
  require(format == kChoicesFormat, "{}: [kernels] format {} is not known, only {}", file.string(), format,
          kChoicesFormat);
  Entries entries;
  for (const auto& [machine, nodes] : fields.at("machines").items())
    for (const auto& [node, entry] : nodes.items())
      entries[machine][node] = entry_of(entry, file.string() + ": " + node);
  return entries;
}

}  // namespace

KernelMemory::KernelMemory(std::filesystem::path file) : file_(std::move(file)) {}

std::optional<KernelMemory::Entry> KernelMemory::find(const std::string& machine, const std::string& node) {
  const std::lock_guard lock(mutex_);
  if (!read_) read();
  read_ = true;
  const auto& nodes = entries_[machine];
  const auto it = nodes.find(node);
  if (it == nodes.end()) return {};
  return it->second;
}

void KernelMemory::keep(const std::string& machine, const std::string& node, Entry entry) {
  const std::lock_guard lock(mutex_);
  entries_[machine][node] = std::move(entry);
  changed_ = true;
}

void KernelMemory::save() {
  const std::lock_guard lock(mutex_);
  if (!changed_ || file_.empty()) return;
  changed_ = false;
  try {
    if (file_.has_parent_path()) create_folder(file_.parent_path());
    const ChoicesLock file_lock(file_);
    read();  // what others added
    write();
  } catch (const Error& e) {
    complain_once(fmt::format("{}; kernels are measured again next time", e.what()));
  }
}

// What this process measured counts more than what the file says.
void KernelMemory::read() {
  if (file_.empty() || !std::filesystem::exists(file_)) return;
  try {
    for (auto& [machine, nodes] : entries_of(file_)) entries_[machine].merge(nodes);
  } catch (const std::exception& e) {
    complain_once(fmt::format("{}; kernels are measured again, and the file is replaced", e.what()));
  }
}

void KernelMemory::write() const {
  Json machines = Json::object();
  for (const auto& [machine, nodes] : entries_)
    for (const auto& [node, entry] : nodes)
      machines[machine][node] = {{"kernel", entry.kernel}, {"us", entry.us}};
  write_json_file(file_, {{"format", kChoicesFormat}, {"machines", std::move(machines)}});
}

void KernelMemory::complain_once(const std::string& what) {
  if (!complained_) Progress::say("ladarts: warning: " + what);
  complained_ = true;
}

KernelMemory& kernel_memory(const std::filesystem::path& file) {
  static std::mutex mutex;
  static auto* memories = new std::map<std::filesystem::path, std::unique_ptr<KernelMemory>>;
  const std::lock_guard lock(mutex);
  auto& memory = (*memories)[file];
  if (!memory) memory = std::make_unique<KernelMemory>(file);
  return *memory;
}

}  // namespace ladarts
