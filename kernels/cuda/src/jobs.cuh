// The sums that are sorted and summed together: kernels/cuda/msm/tasks.py lays them out.
//
// Buckets, parts and blocks of all of them are numbered one after the other, so that one launch
// serves all. Behind the last job lies one that begins after all buckets and blocks.

#pragma once
#include "platform.cuh"

typedef unsigned char u8;
typedef unsigned short u16;

struct alignas(16) Scalar {
    u32 limb[8];
};

struct Job {
    const Scalar *scalars;  // n of them
    const u8 *infinite;     // of each base; null: nobody looked
    const void *table;      // affine points
    u32 n, per_block;       // scalars, and how many a block takes
    u32 first_block, first_bucket;
    u32 n_parts, bases_at;  // parts that its buckets fill; where its rows of `bases` begin
    u32 first_record, stride;
    u32 c, n_sets;
};

// The job that the bucket or block belongs to.
ZK_DEVICE const Job *job_of_bucket(const Job *job, u32 bucket) {
    while (job[1].first_bucket <= bucket) job++;
    return job;
}
ZK_DEVICE const Job *job_of_block(const Job *job) {
    while (job[1].first_block <= blockIdx.x) job++;
    return job;
}
