#include "cuda/libraries/shared_library.h"

#include <dlfcn.h>

#include <cstdlib>

#include "core/error.h"

namespace ladarts::cuda {

std::string LibraryFile::chosen() const {
  const char* given = std::getenv(variable.c_str());
  return given && *given ? given : file;
}

SharedLibrary::SharedLibrary(const LibraryFile& library, const std::string& file)
    : name_(library.name),
      file_(file),
      origin_(library.origin),
      library_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (library_) return;
  const char* reason = dlerror();
  fail(
      "[{}] {} cannot be loaded ({}); install {}, put its folder into LD_LIBRARY_PATH, or let {} name the "
      "file",
      name_, file, reason ? reason : "no reason given", origin_, library.variable);
}

void* SharedLibrary::address(const char* symbol) const {
  void* const found = dlsym(library_, symbol);
  require(found != nullptr, "[{}] {} has no {}; this build needs {}", name_, file_, symbol, origin_);
  return found;
}

}  // namespace ladarts::cuda
