#!/bin/bash
# A search as a Slurm job: sbatch search.sh search.toml. Each task is a host of one fleet, with a slot for each of its CPUs.
#SBATCH --job-name=search
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=2
#SBATCH --time=08:00:00
# Ten minutes before the time is up, nothing new starts; trials that are done until then count.
#SBATCH --signal=INT@600
#SBATCH --requeue
#SBATCH --open-mode=append

# Steps do not take this over by themselves.
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# A task that ends must not end the others.
srun --kill-on-bad-exit=0 --wait=0 tuned --until-done "$@"
status=$?

# 75: it was drained, and work is left. 130: the signal came before it had begun.
if [ "$status" -eq 75 ] || [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
