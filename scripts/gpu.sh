#!/usr/bin/env bash
# On a machine with an NVIDIA GPU and the CUDA toolkit: builds, runs all tests there, single ops by our kernels beside cuDNN's
# and cuBLAS', the search step beside the CPU's, the latency of the published cells, and steps and latency beside PyTorch's.
# Everything ends up in one JSON file under benchmarks/results/, named after date and device.
# Usage: scripts/gpu.sh [--no-install] [--search CIFAR_FOLDER]
#   --no-install   the libraries are there already (CMAKE_PREFIX_PATH)
#   --search DIR   also PC-DARTS' whole search on the CIFAR-10 in that folder, 50 epochs
# PEER_PYTHON names a Python whose PyTorch sees the GPU (default python3); without one the result says that it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

install=1
images=""
while (($# > 0)); do
  case "$1" in
    --no-install) install=0 ;;
    --search)
      images=${2:?gpu: --search needs the folder of CIFAR-10}
      shift
      ;;
    *)
      sed -n '2,8s/^# //p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
((install == 0)) || scripts/install_deps.sh
command -v nvidia-smi >/dev/null || { echo "gpu: there is no NVIDIA driver here (no nvidia-smi)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --preset release -DLADARTS_CUDA=ON
cmake --build --preset release --parallel "$(nproc)"
build/ladarts info --device cuda --json >"$work/info.json"

# A step that fails is part of the result; the others go on.
failed=()
step() {
  local name=$1
  shift
  echo "gpu: $name" >&2
  "$@" >"$work/$name.out" 2>"$work/$name.err" || failed+=("$name")
  tail -n 3 "$work/$name.out" >&2
}
step tests ctest --test-dir build --output-on-failure --output-junit "$work/tests.xml"
if command -v compute-sanitizer >/dev/null; then
  LADARTS_TEST_DEVICE=cuda step memory_checker compute-sanitizer --error-exitcode 1 build/tests/gpu_test 'mixture*,separable*'
fi
# Whose kernels there are; what a library lacks is in info.json.
kernels=(ladarts)
for library in cudnn cublas; do
  ! build/ladarts info --device cuda --kernels "$library" >"$work/$library.txt" 2>&1 || kernels+=("$library")
done
((${#kernels[@]} == 1)) || kernels+=(fastest)

# Ops of the supernets and of derived networks on CIFAR (32 to 8 pixels) and ImageNet (112 to 7); ours beside every library's.
ops=(build/ladarts bench ops --device cuda --pass both --json)
step ops_depthwise "${ops[@]}" --op depthwise --channels 4,16,64 --image 32,16,8 --batch 1,32,64 --kernel 3,5 --stride 1,2 --dilation 1,2
step ops_dense "${ops[@]}" --op conv2d,pointwise,max_pool,avg_pool,norm --channels 4,16,64 --image 32,16,8 --batch 1,32,64 --stride 1,2
step ops_imagenet "${ops[@]}" --op depthwise,pointwise,max_pool,avg_pool,norm --channels 48,192 --image 112,56,28,14,7 --batch 1,32
step ops_linear "${ops[@]}" --op linear --channels 64,256,1024 --batch 1,32,64,512

for which in "${kernels[@]}"; do
  choice=(--device cuda --kernels "$which" --json)
  [[ $which != fastest ]] || choice+=(--kernels-file "$work/kernels.json")
  step "search_step_cuda_$which" build/ladarts bench step --partial-k 4 "${choice[@]}"
  step "search_step_unfused_cuda_$which" build/ladarts bench step --partial-k 4 --unfused "${choice[@]}"
  step "training_step_cuda_$which" build/ladarts bench train --channels 36 --layers 20 "${choice[@]}"
  for cell in DARTS_V2 PC_DARTS_cifar; do
    for batch in 1 32; do
      step "latency_${cell}_${batch}_$which" build/ladarts measure --genotype "$cell" --channels 36 --layers 20 \
        --batch "$batch" --db "$work/latency.db" "${choice[@]}"
    done
  done
done
# Why: ops and, by CUPTI, their single kernels.
for batch in 1 32; do step "profile_DARTS_V2_$batch" build/ladarts profile DARTS_V2 --batch "$batch" --device cuda --json; done
step profile_training build/ladarts profile PC_DARTS_cifar --train --batch 96 --repeats 10 --device cuda --json
# The peer: steps with the supernet's and the derived network's batch, and latency.
peer=${PEER_PYTHON:-python3}
if "$peer" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>"$work/peer.txt"; then
  step search_step_ours_256 build/ladarts bench step --partial-k 4 --batch 256 --device cuda --json
  step search_step_pytorch_256 "$peer" benchmarks/peers/pytorch_supernet.py --device cuda --batch 256
  step search_step_pytorch_64 "$peer" benchmarks/peers/pytorch_supernet.py --device cuda --batch 64
  step training_step_pytorch_96 "$peer" benchmarks/peers/pytorch_network.py --device cuda --batch 96 --train
  for batch in 1 32; do
    step "latency_pytorch_$batch" "$peer" benchmarks/peers/pytorch_network.py --device cuda --batch "$batch"
  done
else
  printf '{"missing": "no PyTorch that sees the GPU"}\n' >"$work/pytorch.out"
fi
if [[ -n $images ]]; then
  begin=$SECONDS
  step search build/ladarts search --protocol pc-darts --data "$images" --device cuda --out "$work/search" --json
  printf '{"seconds": %d}\n' "$((SECONDS - begin))" >"$work/search_time.out"
fi
step search_step_cpu build/ladarts bench step --partial-k 4 --device cpu --json

name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr ' /' '--' | tr '[:upper:]' '[:lower:]')
mkdir -p benchmarks/results
result=benchmarks/results/$(date +%F)-$name.json
{
  printf '{"date": "%s", "commit": "%s",\n' "$(date +%FT%T%z)" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  printf '"driver": "%s",\n' "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)"
  printf '"failed": "%s",\n' "${failed[*]:-}"
  printf '"tests": "%s",\n' "$(grep -E 'tests passed' "$work/tests.out" | tr -d '"')"
  for json in "$work"/*.out; do
    [[ $(head -c 1 "$json") != "{" ]] || printf '"%s": %s,\n' "$(basename "$json" .out)" "$(cat "$json")"
  done
  [[ ! -e $work/kernels.json ]] || printf '"fastest_kernels": %s,\n' "$(cat "$work/kernels.json")"
  printf '"info": %s}\n' "$(cat "$work/info.json")"
} >"$result"
echo "gpu: wrote $result" >&2
((${#failed[@]} > 0)) || exit 0
for f in "${failed[@]}"; do
  echo "gpu: $f failed:" >&2
  tail -n 30 "$work/$f.out" "$work/$f.err" >&2
done
exit 1
