#!/bin/bash
# A comparison on two nodes with four GPUs each. Set the three paths, then: sbatch examples/slurm_compare.sh
# What follows the file's name goes to quantus-vit, after the options below: sbatch examples/slurm_compare.sh --samples 300
# After a time limit, a failed node or scancel submit the same file again, with any number of nodes: it goes on. So does a
# job that SLURM itself puts back into the queue.
#SBATCH --job-name=quantus-vit-compare
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -eu

DATA=${DATA:-/data/COVID-QU-Ex}
MODEL=${MODEL:-runs/vit_base/model.safetensors}
OUT=${OUT:-runs/compare}  # on a file system that all nodes see, with working locks

# One thread for each of a task's CPUs, which srun has to be told once more; all tasks end when one fails, so that none
# waits for it.
exec srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" quantus-vit compare \
    --data "$DATA" --subset infection --model "$MODEL" \
    --protocol fair --samples 3000 \
    --device cuda --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_NNODES" --strategy ddp \
    --threads "$SLURM_CPUS_PER_TASK" \
    --quiet --out "$OUT" "$@"
