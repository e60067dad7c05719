// Changes the rate of a stream of samples in browsers that record or play at a rate of their own. The SDK's worklets
// look for it under this name and in this shape. Straight lines between samples; on the way down, a mean over the
// window that one new sample covers keeps high tones from folding back into speech.
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.place = 0;
    this.last = 0;
  }

  full(samples) {
    const out = [];
    const half = Math.max(0, Math.floor(this.step / 2));
    while (this.place < samples.length) {
      const left = Math.floor(this.place);
      const share = this.place - left;
      out.push(this.mean(samples, left - 1, half) * (1 - share) + this.mean(samples, left, half) * share);
      this.place += this.step;
    }
    this.place -= samples.length;
    this.last = samples.length ? samples[samples.length - 1] : this.last;
    return Float32Array.from(out);
  }

  mean(samples, middle, half) {
    let sum = 0;
    for (let place = middle - half; place <= middle + half; place += 1) {
      sum += place < 0 ? this.last : samples[Math.min(place, samples.length - 1)];
    }
    return sum / (2 * half + 1);
  }
}

globalThis.LibSampleRate = { create: async (_channels, from, to) => new Resampler(from, to) };
