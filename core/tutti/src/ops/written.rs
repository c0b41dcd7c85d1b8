//! Vectors whose values are set by the tasks that compute them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// `n` values in chunks of `chunk`: each task sets its chunk to zero and hands it to `f`, with its number. Setting all to zero beforehand would
/// let the other threads wait, and take the values out of the cache. Returns what `f` returned too, in order.
pub(super) fn by_chunks<R: Send>(n: usize, chunk: usize, f: impl Fn(usize, &mut [f32]) -> R + Sync) -> (Vec<f32>, Vec<R>) {
    let mut out = Vec::with_capacity(n);
    let task = |(i, part): (usize, &mut [MaybeUninit<f32>])| {
        part.iter_mut().for_each(|value| {
            value.write(0.0);
        });
        // SAFETY: all values of the part are set.
        f(i, unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) })
    };
    let returned = out.spare_capacity_mut()[..n].par_chunks_mut(chunk.max(1)).enumerate().map(task).collect();
    // SAFETY: the parts are all `n` values, and each was set.
    unsafe { out.set_len(n) };
    (out, returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_zero_or_what_its_task_made_of_it() {
        for (n, chunk) in [(0, 3), (7, 3), (9, 3), (2, 100)] {
            let (values, sizes) = by_chunks(n, chunk, |i, part| {
                part[0] = i as f32 + 1.0;
                part.len()
            });
            let expected: Vec<f32> = (0..n).map(|k| if k % chunk == 0 { (k / chunk) as f32 + 1.0 } else { 0.0 }).collect();
            assert_eq!(values, expected);
            assert_eq!(sizes.iter().sum::<usize>(), n);
        }
    }
}
