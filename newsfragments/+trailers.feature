``TE: trailers`` of a client is said to the origin, whose trailers pass.
