// CIFAR-10 and CIFAR-100 in the binary format of their authors (https://www.cs.toronto.edu/~kriz/cifar.html).
// A record is one label byte (CIFAR-100: coarse label, fine label), then the R, G and B planes.
#pragma once

#include <filesystem>

#include "nas/data/dataset.h"

namespace ladarts {

// Reads a folder with data_batch_1.bin .. data_batch_5.bin and test_batch.bin (CIFAR-10), or train.bin and
// test.bin (CIFAR-100, fine labels). Files may hold any number of records. Class names come from
// batches.meta.txt or fine_label_names.txt where there is one. Images other than 32x32 announce their size in
// image_set.json (see synthetic.h).
// CIFAR-10's own classes are normalised by the protocol's constants, others by their training set's.
// Throws Error that names file and byte offset for a truncated or overlong file or a label out of range, and
// says what is missing where.
ImageSets read_cifar(const std::filesystem::path& folder);

// File names of the CIFAR-10 layout, for those who write it.
constexpr int kCifarBatches = 5;
std::string cifar_batch_name(int batch);  // from 0: "data_batch_1.bin"
constexpr const char* kCifarTestName = "test_batch.bin";
constexpr const char* kCifarClassesName = "batches.meta.txt";
constexpr const char* kImageSetName = "image_set.json";

}  // namespace ladarts
