# Writes OUTPUT, a header with the version and the commit of the tree at SOURCE, at every build; the file is touched
# only when they change. Run as a script: cmake -DSOURCE=... -DOUTPUT=... -DVERSION=... -P commit.cmake
execute_process(COMMAND git describe --always --abbrev=12 --exclude=* --dirty WORKING_DIRECTORY ${SOURCE}
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  set(commit unknown)
endif()
set(text "#define LADARTS_VERSION \"${VERSION}\"\n#define LADARTS_COMMIT \"${commit}\"\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT "${before}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
