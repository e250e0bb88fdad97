"""Our side of the contest, written with the public interface of ``xmlsocket`` alone."""
