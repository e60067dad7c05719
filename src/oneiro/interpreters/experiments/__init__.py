"""Experiments: releases of one interpreter compared on dreamers, each of whom keeps the arm she got."""
