// A library that is loaded when it is first needed, so that the program starts on machines without it. The
// functions' types come from its headers, which the build found.
#pragma once

#include <string>

namespace ladarts::cuda {

// How a library is named to the user, and found.
struct LibraryFile {
  std::string name;      // "cudnn", which begins messages
  std::string variable;  // of the environment, which may name a file: "LADARTS_CUDNN"
  std::string file;      // "libcudnn.so.9", where the system's loader looks
  std::string origin;    // what brings it: "NVIDIA cuDNN 9"

  std::string chosen() const;  // the variable's, or `file`
};

// Stays loaded until the process ends.
class SharedLibrary {
 public:
  // Throws Error: name, file, the loader's reason, how to mend it.
  SharedLibrary(const LibraryFile& library, const std::string& file);

  template <class F>
  void find(const char* symbol, F& function) const {
    function = reinterpret_cast<F>(address(symbol));
  }

 private:
  void* address(const char* symbol) const;  // throws Error where there is none

  std::string name_, file_, origin_;
  void* library_;
};

}  // namespace ladarts::cuda
