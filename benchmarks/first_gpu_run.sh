#!/usr/bin/env bash
# First run on a GPU: is the code right there, and how fast is it? From the repository's root:
#   benchmarks/first_gpu_run.sh carry DATA   where there is a network: put into $CARRIED what the GPU machine lacks
#   benchmarks/first_gpu_run.sh a            tests, facts, training of ResNet-20 and ResNet-50      (at most 9.5 min)
#   benchmarks/first_gpu_run.sh b            bfloat16's accuracy, probes, loading of JPEGs, pruning (at most 9 min)
#   benchmarks/first_gpu_run.sh c            a sweep of CIFAR-10, packed and alone, and its bits    (at most 7 min)
# Run a, b and c one after another on one machine. Each writes its output to $OUT, which is worth keeping.
#
# The GPU machine needs
#   this repository, on x86-64; torch and torchvision with CUDA; pytest, hypothesis; the dependencies of pyproject.toml
#   except ray, obstore and mnist1d. Wheels of $PACKAGES are carried, with what they need: add what your image lacks.
#   cifar10 in the folder DATA, as docs/data.md says (18 MB as Parquet). JPEGs of ImageNet's sizes are generated.
# Settings: CARRIED (.gpu; let git ignore it), PACKAGES, GPU_PYTHON (version there, 3.12), OUT, DATA, PYTHON.
set -uo pipefail
part=${1:?a part: carry, a, b or c} began=$SECONDS
CARRIED=${CARRIED:-.gpu} OUT=${OUT:-/tmp/first_gpu_run} DATA=${DATA:-$CARRIED/data} PY=${PYTHON:-python3}
PACKAGES=${PACKAGES:-pydantic plotly}
site=${TMPDIR:-/tmp}/first_gpu_run_site
stores=${TMPDIR:-/tmp}/first_gpu_run_stores
cache=${TMPDIR:-/tmp}/first_gpu_run_cache
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 CUDA_DEVICE_MAX_CONNECTIONS=32 CUBLAS_WORKSPACE_CONFIG=:4096:8
export PYTHONPATH=$site:$PWD
mkdir -p "$OUT"

# step FILE SECONDS COMMAND...: write the output to a file and show its end; a failure or a limit stops nothing else
step() {
  local file=$OUT/$1 limit=$2 from=$SECONDS
  shift 2
  echo "=== $* (at most $limit s, at $((SECONDS - began)) s)" | tee -a "$file"
  timeout -k 10 "$limit" "$@" >>"$file" 2>&1
  local code=$?
  tail -n 25 "$file"
  echo "=== exit code $code after $((SECONDS - from)) s" | tee -a "$file"
}

sweep() { # sweep NAME SECONDS OPTIONS...
  local name=$1 limit=$2
  shift 2
  step "c_$name.txt" "$limit" "$PY" -m orchestrator.sweep --store "$stores/$name" --datasets cifar10 --archs resnet20 \
    --methods aws,lrr --transfers signed,mask --chains 2 --seeds 2 --rounds 3 --probe-rounds 3 \
    --set transfer_rounds=probed --set pretrain_epochs=3 --set round_epochs=3 --set final_epochs=6 \
    --set 'final_schedule.milestones=[3, 5]' --set precision=bfloat16 \
    --data-root "$DATA" --data-cache "$cache" --backend inline --device cuda "$@"
}

if [ "$part" != carry ] && [ -d "$CARRIED/wheels" ] && [ ! -d "$site" ]; then
  "$PY" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$CARRIED"/wheels/*.whl
fi

case $part in
carry)
  mkdir -p "$CARRIED/data"
  cp -r "${2:?the folder that holds cifar10}/cifar10" "$CARRIED/data/"
  # shellcheck disable=SC2086  # words
  "$PY" -m pip download --quiet --only-binary=:all: --python-version "${GPU_PYTHON:-3.12}" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --constraint docs/clusters/constraints.txt --dest "$CARRIED/wheels" $PACKAGES
  du -sh "$CARRIED"
  ;;
a)
  step a_machine.txt 30 "$PY" -m torch.utils.collect_env
  step a_machine.txt 10 nvidia-smi
  step a_tests.txt 120 "$PY" -m pytest -q --maxfail=20 -p no:cacheprovider -o addopts= tests/workers/devices/test_gpu.py
  step a_facts.txt 90 "$PY" -m benchmarks.gpu_facts
  step a_resnet20.txt 120 "$PY" -m benchmarks.training --architectures resnet20 --images 20480 --repeats 3 \
    --pack 2,4,8,16
  step a_resnet20_compiled.txt 80 "$PY" -m benchmarks.training --architectures resnet20 --images 20480 --repeats 1 \
    --pack 8 --all --without-aws
  step a_resnet50.txt 100 "$PY" -m benchmarks.training --architectures resnet50 --images 10240 --repeats 2 --pack 2 \
    --all
  ;;
b)
  step b_precision.txt 170 "$PY" -m benchmarks.precision --store "$stores/precision" --data-root "$DATA" \
    --data-cache "$cache" --device cuda --chains 5 --measured "$OUT/b_precision.csv"
  step b_precision.txt 30 "$PY" -m benchmarks.precision --judge --measured "$OUT/b_precision.csv"
  step b_probe.txt 110 "$PY" -m benchmarks.probe --repeats 2 --pairs 1,4,16
  step b_probe_bfloat16.txt 60 "$PY" -m benchmarks.probe --repeats 1 --pairs 4 --precision bfloat16
  step b_loader.txt 110 "$PY" -m benchmarks.loader --images 6144 --batch-size 256 --processes 16 --repeats 2
  step b_pruning.txt 50 "$PY" -m benchmarks.pruning
  ;;
c)
  sweep packed 190
  sweep alone 190 --pack 1
  step c_bits.txt 30 "$PY" -m benchmarks.gpu_facts --same-bits "$stores/packed" "$stores/alone"
  for name in packed alone; do cp "$stores/$name/report.html" "$OUT/c_$name.html"; done
  grep -rhoE "no CUDA graph.*|the CUDA graph .*differs from the eager step" --include log.txt "$stores" | sort | uniq -c |
    tee "$OUT/c_captures.txt"
  ;;
*)
  echo "no part $part: carry, a, b or c" >&2
  exit 2
  ;;
esac
echo "part $part took $((SECONDS - began)) s"
