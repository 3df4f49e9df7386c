// What the folder of a search holds, for the commands that look into it.
#pragma once

#include <filesystem>

#include "nas/derive.h"

namespace ladarts {

// alpha and beta of a search's checkpoint. Throws Error for a file that holds none of this space.
ArchitectureValues read_architecture(const std::filesystem::path& checkpoint, const SearchSpace& space);

}  // namespace ladarts
