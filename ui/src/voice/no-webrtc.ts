// Stands in for livekit-client: conversations run over a WebSocket here, so that none of it is ever called.
const absent = (): never => {
  throw new Error("WebRTC is not part of this page");
};

export class Room {
  constructor() {
    absent();
  }
}
export const RoomEvent = {};
export const Track = { Kind: {}, Source: {} };
export const ConnectionState = {};
export const DisconnectReason = {};
export const setLogLevel = absent;
export const createLocalAudioTrack = absent;
