#!/usr/bin/env bash
# Prints and runs the commands that train on every worker of a TPU pod slice; it creates and deletes no slice.
#
#   POD=my-v4-32 ZONE=us-central2-b REPO=https://... experiments/tpu_pod.sh setup
#   POD=... ZONE=... experiments/tpu_pod.sh run --config=configs/robotcar.py:resnet50,gem,arcface --workdir=... \
#       --config.places.batch_places=16   # over all devices: a multiple of their number
#   POD=... ZONE=... experiments/tpu_pod.sh stop     # SIGTERM: every worker saves and exits; `run` goes on
#
# `setup` takes the workers' python3, or PYTHON=python3.11. It needs 3.11 or newer; images of Ubuntu 22.04 bring 3.10.
# DRY=1 only prints. Workdir and dataset must be folders on storage that all workers share: a disk or a mounted bucket.
# Only the first worker writes; all of them read. With --hosts=auto the pod numbers its workers itself.
set -euo pipefail
: "${POD:?name of the TPU VM}" "${ZONE:?its zone}"
action=${1:?setup, run or stop}
shift

on_all_workers() {
  local command=(gcloud compute tpus tpu-vm ssh "$POD" "--zone=$ZONE" --worker=all "--command=$1")
  printf '$'; printf ' %q' "${command[@]}"; printf '\n'
  [ -n "${DRY:-}" ] || "${command[@]}"
}

case $action in
  setup) : "${REPO:?git address of your copy}"; on_all_workers "{ [ -d vprjax ] && git -C vprjax pull $REPO || git clone $REPO vprjax; } && cd vprjax && ${PYTHON:-python3} -m venv --clear venv && venv/bin/pip install -e '.[tpu]'" ;;
  run) on_all_workers "cd vprjax && venv/bin/python -m vprjax.main --hosts=auto$(printf ' %q' "$@")" ;;
  stop) on_all_workers "pkill -TERM -f [v]prjax.main" ;;
  *) echo "unknown action $action: setup, run or stop"; exit 2 ;;
esac
