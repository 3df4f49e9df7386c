# The CUDA backend: kernels by nvcc, everything else by the host compiler. Without a toolkit there is none, and the
# program says so. The runtime is linked statically: the program also starts on a machine without CUDA or a GPU.
if(LADARTS_CUDA STREQUAL "OFF" OR LADARTS_SANITIZE)
  message(STATUS "CUDA backend: off")
  return()
endif()
find_program(LADARTS_NVCC nvcc HINTS $ENV{CUDACXX} $ENV{CUDA_PATH}/bin /usr/local/cuda/bin NO_CACHE)
if(NOT LADARTS_NVCC)
  if(LADARTS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "LADARTS_CUDA is ON, but there is no nvcc in PATH, CUDA_PATH or /usr/local/cuda/bin")
  endif()
  message(STATUS "CUDA backend: off, there is no nvcc in PATH, CUDA_PATH or /usr/local/cuda/bin")
  return()
endif()

# A toolkit that is too old, or does not accept this host compiler, is as good as none.
if(NOT LADARTS_NVCC_CHECKED STREQUAL LADARTS_NVCC)
  file(WRITE ${CMAKE_BINARY_DIR}/nvcc_check.cu "#include <span>\n__global__ void kernel() {}\n")
  execute_process(COMMAND ${LADARTS_NVCC} -std=c++20 -ccbin ${CMAKE_CXX_COMPILER} -c ${CMAKE_BINARY_DIR}/nvcc_check.cu
                          -o ${CMAKE_BINARY_DIR}/nvcc_check.o
                  RESULT_VARIABLE status OUTPUT_VARIABLE words ERROR_VARIABLE words)
  if(NOT status EQUAL 0)
    if(LADARTS_CUDA STREQUAL "ON")
      message(FATAL_ERROR "${LADARTS_NVCC} does not compile C++20 with ${CMAKE_CXX_COMPILER}:\n${words}")
    endif()
    message(STATUS "CUDA backend: off, ${LADARTS_NVCC} does not compile C++20 with ${CMAKE_CXX_COMPILER}")
    return()
  endif()
  set(LADARTS_NVCC_CHECKED ${LADARTS_NVCC} CACHE INTERNAL "")
endif()

# "native" needs a GPU. Without one: an old and a new generation, and code that newer ones translate when loading it.
set(architectures ${LADARTS_CUDA_ARCHITECTURES})
if(architectures STREQUAL "native")
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader OUTPUT_VARIABLE capabilities
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0 AND capabilities MATCHES "^[0-9]+\\.[0-9]")
    string(REGEX REPLACE "[ \n]+" ";" capabilities "${capabilities}")
    string(REPLACE "." "" capabilities "${capabilities}")
    list(REMOVE_DUPLICATES capabilities)
    list(TRANSFORM capabilities APPEND "-real" OUTPUT_VARIABLE architectures)
  else()
    set(architectures 80-real 90)
  endif()
endif()
set(CMAKE_CUDA_ARCHITECTURES ${architectures})
set(CMAKE_CUDA_COMPILER ${LADARTS_NVCC})
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
if(LADARTS_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${LADARTS_CCACHE})
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
message(STATUS "CUDA backend: ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${architectures}")

file(GLOB cuda_sources CONFIGURE_DEPENDS cuda/*.cu cuda/*.cpp)
add_library(ladarts_cuda STATIC ${cuda_sources})
set_target_properties(ladarts_cuda PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF)
# fmt 9 takes nvcc for a compiler without constexpr.
target_compile_definitions(ladarts_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
# core/philox.h and std::array in kernels.
target_compile_options(ladarts_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
target_link_libraries(ladarts_cuda PUBLIC ladarts_ops ladarts_ranges ladarts_tracing CUDA::cudart_static)
target_link_libraries(ladarts_all INTERFACE $<LINK_LIBRARY:WHOLE_ARCHIVE,ladarts_cuda>
                                            $<LINK_LIBRARY:WHOLE_ARCHIVE,ladarts_cuda_libraries>)
