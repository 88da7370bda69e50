Reasons stand in the journal; forwarded requests name all hops that failed; the cause goes before the next step.
