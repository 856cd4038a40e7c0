"""From descriptors to figures: matching, FCM and its companions, intervals, sequences."""
