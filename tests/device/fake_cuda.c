/* Stands in for NVIDIA's libcuda.so.1 on a machine without a GPU: what cuda.py calls, with the host's memory. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int result;

result cuInit(unsigned flags) { return 0; }
result cuDeviceGetCount(int *count) { *count = 1; return 0; }
result cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal; }
result cuDeviceGetName(char *name, int length, int device) { strncpy(name, "no GPU, a stand-in", length); return 0; }
result cuCtxCreate_v2(void **context, unsigned flags, int device) { *context = context; return 0; }
result cuCtxSynchronize(void) { return 0; }
result cuModuleLoadData(void **module, const char *ptx) { *module = module; return strstr(ptx, "entry add(") ? 0 : 1; }
result cuModuleGetFunction(void **function, void *module, const char *name) { *function = function; return strcmp(name, "add"); }
result cuMemAlloc_v2(uint64_t *pointer, size_t size) { *pointer = (uint64_t)(uintptr_t)malloc(size); return *pointer ? 0 : 2; }
result cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) { memcpy((void *)(uintptr_t)to, from, size); return 0; }
result cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) { memcpy(to, (void *)(uintptr_t)from, size); return 0; }

result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **arguments, void **extra) {
    float *a = *(float **)arguments[0], *b = *(float **)arguments[1];
    uint32_t number = *(uint32_t *)arguments[2];
    for (uint64_t i = 0; i < (uint64_t)gx * bx && i < number; i++) a[i] += b[i];
    return 0;
}
