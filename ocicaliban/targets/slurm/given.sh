# The GPUs that Slurm gave to this job.
gpus=${SLURM_JOB_GPUS:-${SLURM_STEP_GPUS:-${GPU_DEVICE_ORDINAL:-${CUDA_VISIBLE_DEVICES:-}}}}
[ "$gpus" != NoDevFiles ] || gpus=

