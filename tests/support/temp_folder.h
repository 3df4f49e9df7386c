// A folder for one test, deleted with all that is in it.
#pragma once

#include "core/temp_folder.h"
