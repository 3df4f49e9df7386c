// What tests ask of the libraries that stand in for cuDNN and cuBLAS, by dlsym.
#pragma once

extern "C" {

// The next call of the function returns this status.
void fake_fail(const char* function, int status);
// Calls of the function so far.
int fake_calls(const char* function);
// Each operation takes so much longer.
void fake_slow_down(int microseconds);
// What the library says its version is: 91900.
void fake_set_version(int version);
}
