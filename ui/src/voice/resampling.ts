// Takes the place of the SDK's loader of a resampler, which would ask another host for it.
import resampler from "./resampler.worklet.js?url&no-inline";

export async function addLibsamplerateModule(context: BaseAudioContext): Promise<void> {
  await context.audioWorklet.addModule(resampler);
}
