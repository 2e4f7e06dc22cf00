#!/bin/bash
# A fine-tuning on two nodes with four GPUs each. Set the two paths, then: sbatch examples/slurm_train.sh
# What follows the file's name goes to quantus-vit, after the options below: sbatch examples/slurm_train.sh --epochs 20
# After a time limit or a failed node submit it again: --resume goes on after the last complete epoch. So does a job that
# SLURM itself puts back into the queue.
#SBATCH --job-name=quantus-vit-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=4G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -eu

DATA=${DATA:-/data/COVID-QU-Ex}
OUT=${OUT:-runs/vit_base}  # on a file system that all nodes see
RESUME=
if [ -e "$OUT/checkpoints/last.ckpt" ]; then
    RESUME=--resume
fi

# --batch-size counts the images of a step in all processes together: 32 for each of eight GPUs. Weights come from the
# network when they are not in the cache of Hugging Face yet: where nodes see none, fill it beforehand.
# shellcheck disable=SC2086  # an empty RESUME is no argument
exec srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" quantus-vit train \
    --data "$DATA" --model vit_base_patch16_224 --weights pretrained \
    --batch-size 256 --lr 3e-4 --warmup 0.1 --schedule cosine --precision bf16-mixed \
    --device cuda --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_NNODES" --strategy ddp \
    --workers "$SLURM_CPUS_PER_TASK" --no-cache $RESUME \
    --out "$OUT" "$@"
