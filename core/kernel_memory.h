// Remembers which kernel was fastest for a node, in the process and in a file. Internal to the choice of
// kernels.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace ladarts {

// {"format": 1, "machines": {MACHINE: {NODE: {"kernel": NAME, "us": {NAME: 12.5, ...}}}}}. Several processes
// may use one file: it is replaced as a whole under a lock, after what others wrote meanwhile was taken over.
// A file that cannot be read or written costs a line on standard error, never a program.
class KernelMemory {
 public:
  struct Entry {
    std::string kernel;
    std::map<std::string, double> us;  // of all that were timed
  };

  // `file` may be empty: none.
  explicit KernelMemory(std::filesystem::path file);

  std::optional<Entry> find(const std::string& machine, const std::string& node);
  void keep(const std::string& machine, const std::string& node, Entry entry);
  void save();  // into the file, where there is something new

 private:
  using Entries = std::map<std::string, std::map<std::string, Entry>>;  // machine -> node -> entry

  void read();
  void write() const;
  void complain_once(const std::string& what);

  std::filesystem::path file_;
  std::mutex mutex_;
  Entries entries_;
  bool read_ = false, changed_ = false, complained_ = false;
};

// The one of this process for `file`.
KernelMemory& kernel_memory(const std::filesystem::path& file);

}  // namespace ladarts
